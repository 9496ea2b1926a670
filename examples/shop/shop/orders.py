"""Orders in PostgreSQL: the queries, and the connections they run on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

WAIT_S = 5.0
# Columns are named one by one: a release later adds columns while this version still runs.
COLUMNS = "id, item, quantity, created_at"
FIELDS = tuple(COLUMNS.split(", "))


class UnavailableError(Exception):
    """The database cannot answer now; the text says why."""


class Source(Protocol):
    """Where a query gets its connection."""

    def connection(self) -> AbstractContextManager[Connection]:
        """Lend a connection for one query."""


def connect(url: str) -> Connection:
    """Open a connection on which each statement commits, and none can hang: not on a lock, not on a dead network."""
    opened = psycopg2.connect(
        url, connect_timeout=3, options="-c statement_timeout=5000", tcp_user_timeout=5000, application_name="shop"
    )
    opened.autocommit = True
    return opened


class Pool:
    """A few connections that all requests share; opened when first needed, dropped when broken."""

    def __init__(self, url: str, size: int = 6) -> None:
        self._url = url
        self._size = size
        self._slots = threading.BoundedSemaphore(size)
        self._idle: deque[Connection] = deque()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; waits :data:`WAIT_S` for a free one.

        :raises UnavailableError: all are busy, or the database does not answer.
        """
        if not self._slots.acquire(timeout=WAIT_S):
            raise UnavailableError(f"all {self._size} connections were busy for {WAIT_S:g} s")
        try:
            yield from self._lend()
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            self.close()  # What cut this connection has probably cut the idle ones too.
            raise UnavailableError(" ".join(str(error).split())) from error
        finally:
            self._slots.release()

    def _lend(self) -> Iterator[Connection]:
        try:
            lent = self._idle.pop()
        except IndexError:
            lent = connect(self._url)
        try:
            yield lent
        finally:
            if not lent.closed:
                self._idle.append(lent)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()


class Orders:
    """Orders, oldest first by id."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def add(self, item: str, quantity: int) -> dict[str, Any]:
        """Take an order and return it with its id."""
        insert = f"INSERT INTO orders (item, quantity) VALUES (%s, %s) RETURNING {COLUMNS}"  # noqa: S608 ours
        return self._rows(insert, (item, quantity))[0]

    def get(self, number: int) -> dict[str, Any] | None:
        """Return an order, or None when there is none with this id."""
        found = self._read(f"SELECT {COLUMNS} FROM orders WHERE id = %s", (number,))  # noqa: S608 ours
        return found[0] if found else None

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest orders, newest first."""
        newest = f"SELECT {COLUMNS} FROM orders ORDER BY created_at DESC, id DESC LIMIT %s"  # noqa: S608 ours
        return self._read(newest, (limit,))

    def check(self) -> None:
        """Read an order's columns, so that a database that answers but lacks our schema is found out too.

        :raises UnavailableError: it cannot serve us.
        """
        try:
            self.latest(1)
        except psycopg2.ProgrammingError as error:
            raise UnavailableError(" ".join(str(error).split())) from error

    def _read(self, query: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
        """Read, once more on another connection if the first had been cut while it was idle."""
        try:
            return self._rows(query, values)
        except UnavailableError:
            return self._rows(query, values)

    def _rows(self, query: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
        with self._source.connection() as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return [dict(zip(FIELDS, row, strict=True)) for row in cursor.fetchall()]
