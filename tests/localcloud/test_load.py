"""The load generator, against servers that misbehave on purpose."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fabfile.localcloud.load import LoadGenerator, Report, Target

ROOT = Path(__file__).parents[2]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Version: 1.0.0\r\n\r\nok"
Respond = Callable[[str], bytes | None]


class Server(socketserver.ThreadingTCPServer):
    """Answers each request line with the bytes that a function gives; None closes the connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Respond, *, answers_per_connection: int = 10**9) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.respond = respond
        self.answers_per_connection = answers_per_connection
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.seen: list[str] = []
        self.connections = 0
        self.change = threading.Condition()

    def note(self, line: str) -> None:
        with self.change:
            self.seen.append(line)
            self.change.notify_all()

    def wait_for(self, count: int) -> None:
        with self.change:
            assert self.change.wait_for(lambda: len(self.seen) >= count, 30), f"only {len(self.seen)} requests came"


class Talk(socketserver.StreamRequestHandler):
    """One connection: its requests are answered in turn."""

    server: Server

    def handle(self) -> None:
        self.server.connections += 1
        for _ in range(self.server.answers_per_connection):
            line = self.rfile.readline().decode().strip()
            length = 0
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.rfile.read(length)
            if not line:
                return
            self.server.note(line)
            answer = self.server.respond(line)
            if answer is None:
                return
            self.wfile.write(answer)
            if answer.endswith(b"half"):
                return

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            return


@contextmanager
def serving(respond: Respond = lambda _: OK, **options: Any) -> Iterator[Server]:
    with Server(respond, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def load_until(server: Server, count: int, *targets: Target, **options: Any) -> Report:
    """Load a server until it has seen a number of requests."""
    load = LoadGenerator(targets or [Target(f"{server.url}/a"), Target(f"{server.url}/b")], **options)
    load.start()
    server.wait_for(count)
    return load.stop()


def test_every_request_is_counted_with_the_version_that_answered() -> None:
    with serving() as server:
        report = load_until(server, 100, rate=500)
        assert (report.requests, report.failed, report.retried) == (len(server.seen), 0, 0)
        assert report.versions == {"1.0.0": len(server.seen)}


def test_targets_take_turns_on_connections_that_stay_open() -> None:
    with serving() as server:
        load_until(server, 100, rate=200)
        both = [sum(line.startswith(f"GET {path} ") for line in server.seen) for path in ("/a", "/b")]
        assert abs(both[0] - both[1]) <= 1
        assert server.connections < len(server.seen) / 2


def test_a_chunked_answer_leaves_the_connection_usable() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nyes\r\n0\r\n\r\n"
    with serving(lambda _: chunked) as server:
        report = load_until(server, 50, rate=200)
        assert report.failed == 0
        assert server.connections < len(server.seen)


def test_an_answer_that_is_not_2xx_is_a_failure_with_its_reason() -> None:
    with serving(lambda _: b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as server:
        report = load_until(server, 10, Target(server.url), rate=200)
        assert report.failed == report.requests
        assert report.failures[0].startswith(f"{report.failed} x GET {server.url}: status 503")


def test_a_refused_connection_is_a_failure() -> None:
    with serving() as server:
        free = server.url
    load = LoadGenerator([Target(free)], rate=200)
    load.start()
    while load.peek().requests < 5:
        pass
    report = load.stop()
    assert report.failed == report.requests
    assert "ConnectionRefusedError" in report.failures[0]


def test_a_get_on_a_connection_closed_while_idle_is_sent_once_more() -> None:
    with serving(answers_per_connection=3) as server:
        report = load_until(server, 100, rate=200)
        assert report.failed == 0


def test_a_connection_cut_on_its_first_request_is_a_failure() -> None:
    with serving(lambda _: None) as server:
        report = load_until(server, 10, rate=200)
        assert report.failed == report.requests
        assert report.retried == 0


def test_an_answer_cut_in_its_middle_is_a_failure_also_on_a_used_connection() -> None:
    whole = iter([OK])
    with serving(
        lambda _: next(whole, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), answers_per_connection=2
    ) as server:
        report = load_until(server, 5, rate=20)
        assert report.failed == report.requests - 1
        assert report.retried == 0


def test_a_post_is_never_sent_twice() -> None:
    answers = iter([OK, None])
    with serving(lambda _: next(answers, OK)) as server:
        report = load_until(server, 5, Target(f"{server.url}/orders", '{"item": "tea"}'), rate=10)
        assert (report.failed, report.retried) == (1, 0)
        assert report.requests == len(server.seen)


def test_slow_requests_are_in_flight_while_the_steady_ones_are_answered() -> None:
    gate = threading.Event()

    def respond(line: str) -> bytes:
        if "/slow" in line:
            assert gate.wait(30)
        return OK

    with serving(respond) as server:
        load = LoadGenerator(
            [Target(f"{server.url}/a")], rate=100, slow=[Target(f"{server.url}/slow")], slow_in_flight=3
        )
        load.start()
        server.wait_for(53)
        seen = load.peek()
        gate.set()
        report = load.stop()
        assert seen.slow_requests == 0
        assert sum("/slow" in line for line in server.seen) >= 3
        assert report.slow_requests >= 3
        assert report.failed == 0


def test_a_slow_request_that_is_cut_is_a_failure_and_not_sent_again() -> None:
    answers = iter([OK])
    with serving(lambda line: next(answers, None) if "/slow" in line else OK) as server:
        load = LoadGenerator(
            [Target(f"{server.url}/a")], rate=20, slow=[Target(f"{server.url}/slow")], slow_in_flight=1
        )
        load.start()
        while not (report := load.peek()).failed:
            pass
        load.stop()
        assert report.retried == 0


def test_requests_start_when_they_are_due_though_earlier_ones_wait() -> None:
    gate = threading.Event()
    with serving(lambda _: OK if gate.wait(30) else None) as server:
        load = LoadGenerator([Target(server.url)], rate=100)
        load.start()
        server.wait_for(40)
        assert load.peek().requests == 0
        gate.set()
        assert load.stop().failed == 0


def test_a_mark_begins_a_new_count_and_loses_nothing() -> None:
    with serving() as server:
        load = LoadGenerator([Target(server.url)], rate=200)
        load.start()
        server.wait_for(20)
        first = load.mark()
        server.wait_for(60)
        second = load.stop()
        assert first.requests + second.requests == len(server.seen)


def test_the_command_prints_json_and_fails_when_a_request_did() -> None:
    with serving(lambda line: OK if "/good" in line else None) as server:
        good, bad = (
            subprocess.run(
                [sys.executable, "-m", "fabfile.localcloud.load", server.url + path, "--seconds", "0.5", "--json"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            for path in ("/good", "/bad")
        )
    assert (good.returncode, bad.returncode) == (0, 1)
    assert json.loads(good.stdout)["failed"] == 0
    assert json.loads(bad.stdout)["failed"] > 0
