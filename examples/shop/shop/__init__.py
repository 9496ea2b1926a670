"""A small shop: orders over HTTP, kept in PostgreSQL."""
