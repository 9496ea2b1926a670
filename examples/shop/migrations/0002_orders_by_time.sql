-- +goose NO TRANSACTION

-- +goose Up
-- CONCURRENTLY, so that orders are taken while it is built.
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_time ON orders (created_at DESC, id DESC);

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS orders_by_time;
