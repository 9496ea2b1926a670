"""PostgreSQL: connection strings, the lock that migrations are run under, and how far a database is migrated."""

from __future__ import annotations

import getpass
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from ..plan.outcome import Failed, Refusal

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT_S = 10
POLL_S = 0.5
HIDDEN = "…"


def connect(dsn: str) -> psycopg.Connection[Any]:
    """Open a session that stays idle for long: autocommit, so that no transaction of it can hold up a migration.

    :raises Refusal: the connection string is not one.
    :raises Failed: the server does not answer, or refuses us. Neither message holds a secret.
    """
    import psycopg

    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The message would quote the string, so it is not passed on.
        raise Refusal(
            "the database's connection string is not one; write postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    try:
        connection = psycopg.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name=_our_name(), keepalives_idle=30
        )
    except psycopg.Error as error:
        raise Failed(f"database: {redacted(' '.join(str(error).split()), dsn)}") from None
    with suppress(psycopg.Error):  # unknown before PostgreSQL 14, which has no such timeout either
        connection.execute("SET idle_session_timeout = 0")
    return connection


@contextmanager
def advisory_lock(connection: psycopg.Connection[Any], lock_id: int, wait_s: float) -> Iterator[None]:
    """Hold a session's advisory lock, waiting for whoever has it.

    Asked for again and again, because a session that waits inside PostgreSQL has a transaction open, and
    ``CREATE INDEX CONCURRENTLY`` waits for every open transaction.

    :param wait_s: seconds to wait at most.
    :raises Failed: somebody else has it for longer; the message names who. Or the session broke while it was held.
    """
    deadline, told = time.monotonic() + wait_s, False
    while not _scalar(connection, "SELECT pg_try_advisory_lock(%s)", lock_id):
        holder = _holder(connection, lock_id)
        if time.monotonic() > deadline:
            raise Failed(f"database: another migration still runs after {wait_s:g} s ({holder}); nothing was changed")
        if not told:
            print(f"migrate: waiting for another migration to end ({holder})", flush=True)
            told = True
        time.sleep(POLL_S)
    try:
        yield
    finally:
        _release(connection, lock_id)


def migrated_to(connection: psycopg.Connection[Any]) -> int:
    """Return the newest migration that Goose applied to this database; 0 for one that it never saw."""
    if _scalar(connection, "SELECT to_regclass('goose_db_version')") is None:
        return 0
    return int(_scalar(connection, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied"))


def with_options(dsn: str, options: str) -> str:
    """Return a connection string, URL or ``key=value`` words, whose sessions start with more server options.

    :param options: such as ``-c lock_timeout=2000``; they go after, so over, those that the string has itself.
    """
    if "://" in dsn:
        base, _, query = dsn.partition("?")
        pairs = [pair for pair in query.split("&") if pair]
        own = [unquote(pair.partition("=")[2]) for pair in pairs if pair.startswith("options=")]
        rest = [pair for pair in pairs if not pair.startswith("options=")]
        return f"{base}?{'&'.join([*rest, 'options=' + quote(' '.join([*own, options]), safe='')])}"
    from psycopg.conninfo import conninfo_to_dict

    own_options = conninfo_to_dict(dsn).get("options")
    joined = f"{own_options} {options}" if own_options else options
    escaped = joined.replace("\\", "\\\\").replace("'", "\\'")
    return f"{dsn} options='{escaped}'"  # of two values for a key, the last counts


def redacted(text: str, dsn: str) -> str:
    """Return a text without the connection string and its password, in whatever form they stand in it."""
    for secret in sorted(_secrets_of(dsn), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets_of(dsn: str) -> set[str]:
    import psycopg

    found = {dsn}
    with suppress(psycopg.ProgrammingError):
        password = psycopg.conninfo.conninfo_to_dict(dsn).get("password")
        if password:
            found |= {str(password), quote(str(password), safe="")}
    with suppress(ValueError):
        password = urlsplit(dsn).password
        if password:
            found |= {password, unquote(password)}
    return {secret for secret in found if secret}


def _scalar(connection: psycopg.Connection[Any], query: Any, *values: object) -> Any:
    import psycopg

    try:
        row = connection.execute(query, values or None).fetchone()
    except psycopg.Error as error:
        raise Failed(f"database: {' '.join(str(error).split())}") from None
    return row[0] if row else None


def _holder(connection: psycopg.Connection[Any], lock_id: int) -> str:
    """Say who holds an advisory lock: `pg_locks` shows its high half as classid, its low half as objid."""
    found = _scalar(
        connection,
        "SELECT format('%%s, session %%s since %%s', a.application_name, a.pid, a.backend_start::timestamptz(0))"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND l.classid = %s AND l.objid = %s AND l.objsubid = 1",
        lock_id >> 32,
        lock_id & 0xFFFFFFFF,
    )
    return str(found) if found else "it ended just now"


def _release(connection: psycopg.Connection[Any], lock_id: int) -> None:
    with suppress(Failed):  # a broken session lost its lock already
        _scalar(connection, "SELECT pg_advisory_unlock(%s)", lock_id)


def _our_name() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a CI container may run as a number that nobody named
        user = str(os.getuid())
    return f"headway migrate by {user}@{platform.node()}"[:63]  # PostgreSQL cuts longer names
