"""A real haproxy in front of small real servers: no request may fail while members come and go."""

from __future__ import annotations

import http.client
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fabfile.localcloud.balancers import Check, Member, MemberHealth, Pool, Seen
from fabfile.localcloud.haproxy import HaproxyBalancers
from fabfile.localcloud.haproxy_runtime import HaproxyError, stop_stray


class App:
    """A member: answers its name, `/slow` when it is let go, and a health check that can be changed."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self.name = name
        self.health = 200
        self.health_pause = threading.Event()
        self.health_pause.set()
        self.served: list[str] = []
        self.slow_may_end = threading.Event()
        self.server = ThreadingHTTPServer(address, self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # cut connections are no news
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def member(self) -> Member:
        host, port = self.server.server_address[:2]
        return Member(self.name, str(host), port, draining=False)

    def close(self) -> None:
        self.slow_may_end.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status = 200
                if self.path == "/health":
                    app.health_pause.wait(10)
                    status = app.health
                else:
                    app.served.append(self.path)
                if self.path == "/slow":
                    app.slow_may_end.wait(30)
                body = app.name.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Load:
    """Clients that keep their connections and count every failure."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(port,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _client(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
                (self.answers if answer.status == 200 else self.failures).append(f"{body}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            self._over.wait(0.002)
        connection.close()

    def more(self, count: int = 40) -> list[str]:
        """Answers to requests sent from now on."""
        start = len(self.answers) + len(self._threads)
        until(lambda: len(self.answers) >= start + count, "answers")
        return self.answers[start:]

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


class Lab:
    """Balancers and apps of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.balancers = HaproxyBalancers(folder)
        self.folder = folder
        self.port = free_port()
        self.member_port = free_port()
        self.apps: list[App] = []

    def app(self, name: str) -> App:
        self.apps.append(App(name, (f"127.0.1.{len(self.apps) + 1}", self.member_port)))
        return self.apps[-1]

    def pool(self, *members: Member, name: str = "shop", **check: object) -> Pool:
        rules = {"path": "/health", "interval_s": 0.1, "timeout_s": 1, "healthy_threshold": 2, "unhealthy_threshold": 2}
        checks = Check(**{"port": self.member_port, **rules, **check})  # type: ignore[arg-type]
        return Pool(name, (("127.0.0.1", self.port),), checks, members)

    def health(self, app: App, pool: str = "shop") -> MemberHealth:
        return self.balancers.health()[pool, app.name]

    def until_healthy(self, *apps: App) -> None:
        until(lambda: all(self.health(app).seen is Seen.HEALTHY for app in apps), "healthy")


@pytest.fixture
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="hw-"))  # pytest's own are too long for a socket's path
    lab = Lab(folder)
    yield lab
    lab.balancers.close()
    for app in lab.apps:
        app.close()
    shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, within_s: float = 20) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what}"
        time.sleep(0.01)


def ask(port: int, path: str = "/", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_a_new_member_gets_no_request_before_its_checks_passed(lab: Lab) -> None:
    old, new = lab.app("i-old"), lab.app("i-new")
    lab.balancers.apply([lab.pool(old.member)])
    lab.until_healthy(old)
    new.health = 503
    lab.balancers.apply([lab.pool(old.member, new.member)])
    assert lab.health(new).seen is Seen.INITIAL
    assert lab.health(new).reason == "Elb.InitialHealthChecking"
    load = Load(lab.port)
    assert set(load.more()) == {"i-old"}
    until(lambda: lab.health(new).seen is Seen.UNHEALTHY, "unhealthy")
    assert new.served == []
    new.health = 200
    lab.until_healthy(new)
    assert set(load.more()) == {"i-old", "i-new"}
    load.end()
    assert load.failures == []


def test_a_lone_member_is_not_trusted_before_its_checks_passed(lab: Lab) -> None:
    app = lab.app("i-one")
    app.health_pause.clear()
    lab.balancers.apply([lab.pool(app.member)])
    assert ask(lab.port)[0] == 503
    app.health_pause.set()
    lab.until_healthy(app)
    assert ask(lab.port) == (200, "i-one")


def test_health_has_the_reason_codes_of_elb(lab: Lab) -> None:
    wrong, silent, gone = lab.app("i-wrong"), lab.app("i-silent"), lab.app("i-gone")
    lab.balancers.apply([lab.pool(wrong.member, silent.member, gone.member, timeout_s=0.2)])
    lab.until_healthy(wrong, silent, gone)
    wrong.health = 503
    silent.health_pause.clear()
    gone.close()
    until(lambda: all(health.seen is Seen.UNHEALTHY for health in lab.balancers.health().values()), "unhealthy")
    assert lab.health(wrong).reason == "Target.ResponseCodeMismatch"
    assert lab.health(wrong).description == "Health checks failed with these codes: [503]"
    assert lab.health(silent).reason == "Target.Timeout"
    assert lab.health(gone).reason == "Target.FailedHealthChecks"
    silent.health_pause.set()


def test_a_draining_member_finishes_its_requests_and_gets_no_new_ones(lab: Lab) -> None:
    old, new = lab.app("i-old"), lab.app("i-new")
    lab.balancers.apply([lab.pool(old.member)])
    lab.until_healthy(old)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(ask(lab.port, "/slow")))
    slow.start()
    until(lambda: lab.health(old).requests == 1, "slow request in flight")
    lab.balancers.apply([lab.pool(old.member, new.member)])
    lab.until_healthy(new)
    load = Load(lab.port)
    load.more()
    lab.balancers.apply([lab.pool(replace(old.member, draining=True), new.member)])
    assert set(load.more()) == {"i-new"}
    assert lab.health(old).requests == 1
    old.slow_may_end.set()
    slow.join()
    assert answers == [(200, "i-old")]
    assert lab.health(old).requests == 0
    load.end()
    assert load.failures == []


def test_what_a_member_still_serves_is_cut_when_it_leaves(lab: Lab) -> None:
    app = lab.app("i-one")
    lab.balancers.apply([lab.pool(app.member)])
    lab.until_healthy(app)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(ask(lab.port, "/slow", "POST")))
    slow.start()
    until(lambda: lab.health(app).requests == 1, "slow request in flight")
    lab.balancers.apply([lab.pool()])
    slow.join()
    assert answers[0][0] in {502, 503}
    assert lab.balancers.health() == {}


def test_a_member_that_comes_back_is_checked_anew(lab: Lab) -> None:
    app = lab.app("i-one")
    lab.balancers.apply([lab.pool(app.member)])
    lab.until_healthy(app)
    lab.balancers.apply([lab.pool(replace(app.member, draining=True))])
    app.health_pause.clear()
    lab.balancers.apply([lab.pool(app.member)])
    assert lab.health(app).seen is Seen.INITIAL
    assert ask(lab.port)[0] == 503
    app.health_pause.set()
    lab.until_healthy(app)
    assert ask(lab.port) == (200, "i-one")


def test_fleets_change_over_and_over_under_load_without_a_failed_request(lab: Lab) -> None:
    fleet = [lab.app(f"i-0-{number}") for number in range(2)]
    lab.balancers.apply([lab.pool(*(app.member for app in fleet))])
    lab.until_healthy(*fleet)
    load = Load(lab.port, clients=8)
    for generation in range(1, 6):
        new = [lab.app(f"i-{generation}-{number}") for number in range(2)]
        members = [app.member for app in new]
        lab.balancers.apply([lab.pool(*(app.member for app in fleet), *members)])
        lab.until_healthy(*new)
        drained = [replace(app.member, draining=True) for app in fleet]
        lab.balancers.apply([lab.pool(*drained, *members)])
        until(lambda left=fleet: all(lab.health(app).requests == 0 for app in left), "drained")  # type: ignore[misc]
        lab.balancers.apply([lab.pool(*members)])
        for app in fleet:
            app.close()
        assert set(load.more()) <= {app.name for app in new}
        fleet = new
    load.end()
    assert load.failures == []


def test_another_pool_or_check_loses_no_request_and_forgets_no_health(lab: Lab) -> None:
    good, bad, drained = lab.app("i-good"), lab.app("i-bad"), lab.app("i-drained")
    pool = lab.pool(good.member, bad.member, drained.member)
    lab.balancers.apply([pool])
    lab.until_healthy(good, bad, drained)
    bad.health = 503
    until(lambda: lab.health(bad).seen is Seen.UNHEALTHY, "unhealthy")
    pool = lab.pool(good.member, bad.member, replace(drained.member, draining=True))
    lab.balancers.apply([pool])
    load = Load(lab.port, clients=8)
    for number in range(3):
        other = Pool(f"other/{number}", (("127.0.0.1", free_port()),), replace(pool.check, interval_s=5), ())
        lab.balancers.apply([pool, other])
        assert lab.health(good).seen is Seen.HEALTHY
        assert lab.health(bad).seen is Seen.UNHEALTHY
        assert set(load.more()) == {"i-good"}
    lab.balancers.apply([lab.pool(*pool.members, unhealthy_threshold=3)])
    assert set(load.more()) == {"i-good"}
    load.end()
    assert load.failures == []


def test_requests_that_an_old_process_finishes_are_counted(lab: Lab) -> None:
    app = lab.app("i-one")
    pool = lab.pool(app.member)
    lab.balancers.apply([pool])
    lab.until_healthy(app)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(ask(lab.port, "/slow")))
    slow.start()
    until(lambda: lab.health(app).requests == 1, "slow request in flight")
    lab.balancers.apply([pool, Pool("other", (("127.0.0.1", free_port()),), pool.check, ())])
    assert lab.health(app).requests == 1
    app.slow_may_end.set()
    slow.join()
    assert answers == [(200, "i-one")]
    until(lambda: lab.health(app).requests == 0, "finished")


def test_a_taken_socket_is_refused_and_the_rest_goes_on(lab: Lab) -> None:
    app = lab.app("i-one")
    pool = lab.pool(app.member)
    lab.balancers.apply([pool])
    lab.until_healthy(app)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = Pool("other", (taken.getsockname(),), pool.check, ())
        with pytest.raises(HaproxyError, match="haproxy"):
            lab.balancers.apply([pool, other])
        assert ask(lab.port) == (200, "i-one")
    lab.balancers.apply([pool, other])
    assert ask(lab.port) == (200, "i-one")


def test_a_dead_haproxy_is_started_again(lab: Lab) -> None:
    app = lab.app("i-one")
    pool = lab.pool(app.member)
    lab.balancers.apply([pool])
    lab.until_healthy(app)
    assert stop_stray(lab.folder)
    until(lambda: lab.health(app).reason == "Elb.RegistrationInProgress", "known to be down")

    def healthy_again() -> bool:
        lab.balancers.apply([pool])  # as the cloud does at each tick
        return lab.health(app).seen is Seen.HEALTHY

    until(healthy_again, "healthy again")
    assert ask(lab.port) == (200, "i-one")
