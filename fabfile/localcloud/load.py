"""Load on a service while it is released: a steady rate, slow requests always in flight, and every failure counted.

The schedule is open: a request starts when it is due, whether or not earlier ones were answered, and its time counts
from the moment it was due. So a service that stalls for a second shows it in every request of that second.

A failure is any answer but 2xx, and any error of a connection, with one exception that every HTTP client makes: a GET
on a connection that was used before, which the server closed without a byte of an answer, is sent once more on a new
connection (RFC 9112, section 9.3.1: a server may close an idle connection just as a request is sent on it). These
are counted as ``retried``. POSTs and slow requests are never sent twice.

From a shell: ``python -m headway.localcloud.load http://shop/orders/1 --slow 'http://shop/slow?seconds=3' --json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 10.0
MOST_IN_FLIGHT = 800
MOST_REASONS = 20


@dataclass(frozen=True)
class Target:
    """A URL to ask: a GET, or a POST when there is a body."""

    url: str
    body: str | None = None


@dataclass(frozen=True)
class Report:
    """What happened in some span of time. Times are in seconds.

    ``slowest_s``, ``median_s`` and ``p99_s`` are of the steady requests, ``slowest_slow_s`` of those meant to be slow;
    ``requests``, ``failed`` and ``versions`` count both. ``failures`` counts them by reason.
    """

    seconds: float
    requests: int
    failed: int
    retried: int
    slowest_s: float
    median_s: float
    p99_s: float
    slow_requests: int
    slowest_slow_s: float
    versions: dict[str, int]
    failures: tuple[str, ...]


@dataclass
class _Window:
    """Counts since its start."""

    started: float = field(default_factory=time.monotonic)
    steady_s: list[float] = field(default_factory=list)
    slow_s: list[float] = field(default_factory=list)
    failed: int = 0
    retried: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    failures: dict[str, tuple[int, str]] = field(default_factory=dict)

    def fail(self, why: str) -> None:
        """Count a failure under its reason."""
        self.failed += 1
        if why in self.failures or len(self.failures) < MOST_REASONS:
            count, first = self.failures.get(why, (0, time.strftime("%H:%M:%S")))
            self.failures[why] = (count + 1, first)

    def report(self) -> Report:
        ordered = sorted(self.steady_s)
        return Report(
            seconds=round(time.monotonic() - self.started, 3),
            requests=len(ordered) + len(self.slow_s),
            failed=self.failed,
            retried=self.retried,
            slowest_s=_quantile(ordered, 1.0),
            median_s=_quantile(ordered, 0.5),
            p99_s=_quantile(ordered, 0.99),
            slow_requests=len(self.slow_s),
            slowest_slow_s=round(max(self.slow_s, default=0.0), 4),
            versions=dict(sorted(self.versions.items())),
            failures=tuple(f"{count} x {why}, first at {first}" for why, (count, first) in self.failures.items()),
        )


def _quantile(ordered: Sequence[float], part: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 4) if ordered else 0.0


class LoadGenerator:
    """Load from a thread of its own, between :meth:`start` and :meth:`stop`."""

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        rate: float = 200.0,
        slow: Sequence[Target] = (),
        slow_in_flight: int = 2,
        version_header: str = "x-version",
    ) -> None:
        """Prepare load.

        :param targets: asked in turn, ``rate`` times a second in all.
        :param slow: slow URLs; ``slow_in_flight`` requests for each are in flight all the time.
        :param version_header: header of the answers that names the version that gave them.
        """
        self._targets = [_Route(target, version_header) for target in targets]
        self._slow = [_Route(target, version_header) for target in slow for _ in range(slow_in_flight)]
        self._rate = rate
        self._window = _Window()
        self._flying: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def peek(self) -> Report:
        """Report on what happened since :meth:`start` or the last :meth:`mark`."""
        return self._ask(self._peek())

    def mark(self) -> Report:
        """Report as :meth:`peek` does, and count from zero again. A request counts where it ends."""
        return self._ask(self._mark())

    def stop(self) -> Report:
        """Send nothing more, wait for the answers that are due, and report since the last :meth:`mark`."""
        self._stopping = True
        self._thread.join()
        return self._window.report()

    def _ask(self, question: Coroutine[Any, Any, Report]) -> Report:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()

    async def _peek(self) -> Report:
        return self._window.report()

    async def _mark(self) -> Report:
        report = self._window.report()
        self._window = _Window()
        return report

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._generate())

    async def _generate(self) -> None:
        self._window = _Window()
        slow = [asyncio.create_task(self._keep_slow(route)) for route in self._slow]
        await self._keep_steady()
        await asyncio.gather(*slow, *self._flying)
        for route in (*self._targets, *self._slow):
            route.close()

    async def _keep_slow(self, route: _Route) -> None:
        while not self._stopping:
            if not await self._count(route, time.monotonic(), slow=True):
                await asyncio.sleep(0.2)  # A service that is down is asked again, not hammered.

    async def _keep_steady(self) -> None:
        start, number = time.monotonic(), 0
        while not self._stopping:
            due = start + number / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._send(self._targets[number % len(self._targets)], due)
            number += 1

    def _send(self, route: _Route, due: float) -> None:
        if len(self._flying) >= MOST_IN_FLIGHT:
            self._note(route, due, f"not sent: {MOST_IN_FLIGHT} requests wait for their answers", slow=False)
            return
        task = asyncio.create_task(self._count_steady(route, due))
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)

    async def _count_steady(self, route: _Route, due: float) -> None:
        await self._count(route, due, slow=False)

    async def _count(self, route: _Route, due: float, *, slow: bool) -> bool:
        why = None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S + (30 if slow else 0)):
                answer = await route.ask(may_repeat=not slow)
            self._window.retried += answer.repeated
            self._window.versions[answer.version] += 1
            if not 200 <= answer.status < 300:
                why = f"status {answer.status}"
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            why = f"{type(error).__name__} {error}".strip()
        self._note(route, due, why, slow=slow)
        return why is None

    def _note(self, route: _Route, due: float, why: str | None, *, slow: bool) -> None:
        (self._window.slow_s if slow else self._window.steady_s).append(time.monotonic() - due)
        if why is not None:
            self._window.fail(f"{route.name}: {why}")


@dataclass(frozen=True)
class _Answer:
    """An answer's status, who gave it, and whether the request was sent twice."""

    status: int
    version: str
    keep: bool
    repeated: int = 0


class _ClosedWhileIdleError(ConnectionError):
    """The server closed a used connection without a byte of an answer."""


class _Route:
    """A target and its idle connections."""

    def __init__(self, target: Target, version_header: str) -> None:
        parts = urlsplit(target.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{target.url}: must be an http URL")
        self._address = (parts.hostname, parts.port or 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._post = target.body is not None
        self.name = f"{'POST' if self._post else 'GET'} {target.url}"
        body = (target.body or "").encode()
        head = f"{'POST' if self._post else 'GET'} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if self._post else ""
        self._request = head.encode() + b"\r\n" + body
        self._version_header = version_header.lower().encode()
        self._idle: deque[_Connection] = deque()

    async def ask(self, *, may_repeat: bool) -> _Answer:
        """Send the request, on a connection that is open already if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                try:
                    return await self._exchange(connection, used=True)
                except _ClosedWhileIdleError:
                    if self._post or not may_repeat:
                        raise
                    answer = await self._exchange(await _Connection.open(self._address), used=False)
                    return _Answer(answer.status, answer.version, answer.keep, repeated=1)
            connection.close()
        return await self._exchange(await _Connection.open(self._address), used=False)

    async def _exchange(self, connection: _Connection, *, used: bool) -> _Answer:
        try:
            answer = await connection.exchange(self._request, self._version_header, used=used)
        except BaseException:
            connection.close()
            raise
        if answer.keep:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()


class _Connection:
    """A keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> _Connection:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            return cls(*await asyncio.open_connection(*address))

    def is_open(self) -> bool:
        """Tell whether the server's end is open, as far as we have heard."""
        return not (self._reader.at_eof() or self._writer.is_closing() or self._reader.exception())

    def close(self) -> None:
        self._writer.close()

    async def exchange(self, request: bytes, version_header: bytes, *, used: bool) -> _Answer:
        self._writer.write(request)
        try:
            first = await self._reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if used:
                raise _ClosedWhileIdleError("closed without an answer") from error
            raise
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head[:-4].split(b"\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        keep = await self._skip_body(fields)
        version = fields.get(version_header, b"?").decode(errors="replace")
        return _Answer(
            int(status_line.split()[1]), version, keep and fields.get(b"connection", b"").lower() != b"close"
        )

    async def _skip_body(self, fields: dict[bytes, bytes]) -> bool:
        """Read the body; tell whether its end was known, so that another answer may follow it."""
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await self._reader.readexactly(size + 2)
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return True
        if b"content-length" in fields:
            await self._reader.readexactly(int(fields[b"content-length"]))
            return True
        await self._reader.read()
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Load URLs until the time is up or a signal comes; exit code 1 when a request failed."""
    options = _parser().parse_args(argv)
    targets = [*(Target(url) for url in options.urls), *(Target(url, body) for url, body in options.post)]
    load = LoadGenerator(
        targets, rate=options.rate, slow=[Target(url) for url in options.slow], slow_in_flight=options.slow_in_flight
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    load.start()
    stop.wait(options.seconds)
    report = load.stop()
    if options.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        print(describe(report))
        for line in report.failures:
            print(f"  {line}")
    return 1 if report.failed else 0


def describe(report: Report) -> str:
    """Put a report in one line."""
    versions = " ".join(f"{name} ({count})" for name, count in report.versions.items())
    return (
        f"{report.requests} requests, {report.failed} failed, {report.retried} retried, "
        f"median {report.median_s * 1000:.0f} ms, p99 {report.p99_s * 1000:.0f} ms, "
        f"slowest {report.slowest_s:.2f} s; served by {versions or 'nobody'}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headway.localcloud.load", description="Steady load on URLs.")
    parser.add_argument("urls", nargs="+", metavar="URL", help="http URL to GET; several are asked in turn")
    parser.add_argument(
        "--post", nargs=2, action="append", default=[], metavar=("URL", "JSON"), help="a POST among the GETs"
    )
    parser.add_argument("--slow", action="append", default=[], metavar="URL", help="slow URL, always in flight")
    parser.add_argument("--slow-in-flight", type=int, default=2, metavar="N", help="requests for each (default 2)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second in all (default 200)")
    parser.add_argument("--seconds", type=float, default=None, help="how long; without it until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
