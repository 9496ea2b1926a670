"""The lab's process: serves the cloud's API and lets its time pass, until SIGTERM.

Run as ``python -m headway.localcloud.server PORT`` by ``lab.up``, which wrote down the lab's place before.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .account import prepare
from .clock import WallClock
from .cloud import Cloud
from .docker_hosts import DockerHosts
from .haproxy import HaproxyBalancers
from .place import Place, saved_place

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

TICK_S = 0.25
WHO_PATH = "/_lab"  # answers which lab this is; no service of AWS has such a path, and no bucket may have that name

_log = logging.getLogger("headway.lab")


def main(port: int) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    place = saved_place(port)
    if place is None:
        print(f"no lab is set up at port {port}: fab lab.up", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    balancers = HaproxyBalancers(place.folder / "haproxy")
    try:
        cloud = build_cloud(place, balancers)
        with cloud.installed():
            prepare(place)
            servers = listen(place, cloud.app())
            _log.info("serving at %s and http://%s:%s", place.endpoint, place.gateway, place.port)
            ticker = _Ticker(cloud)
            while not stopping.wait(TICK_S):
                ticker.tick()
            for server in servers:
                server.shutdown()
    finally:
        balancers.close()
    _log.info("ended")
    return 0


def build_cloud(place: Place, balancers: HaproxyBalancers) -> Cloud:
    """Make the cloud of a place: containers, haproxy and the wall's clock."""
    hosts = DockerHosts(place.port, place.docker_network, place.base_image, place.boot_s)
    numbers = itertools.count()
    return Cloud(hosts, balancers, WallClock(), address_of=lambda _name: place.balancer_address(next(numbers)))


def listen(place: Place, app: Callable[..., Iterable[bytes]]) -> list[BaseWSGIServer]:
    """Serve the API to this machine and to the lab's instances, each in a thread of its own."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are written apart: else each answer waits 40 ms for an ACK
        timeout = 120

        def log_request(self, *_: Any) -> None:
            pass

    servers = []
    for address in ("127.0.0.1", place.gateway):
        server = make_server(address, place.port, _who_or(place, app), threaded=True, request_handler=Handler)
        server.daemon_threads = True  # type: ignore[attr-defined] # a client's open connection holds up no end
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        servers.append(server)
    return servers


def _who_or(place: Place, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    answer = json.dumps({"port": place.port, "pid": os.getpid()}).encode()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != WHO_PATH:
            return app(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]

    return application


class _Ticker:
    """Lets the cloud's time pass, whatever happens in it: who stops at a surprise is no place to test them in."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._last = ""

    def tick(self) -> None:
        """Tick once; an error that comes again and again is logged once."""
        try:
            self._cloud.tick()
        except Exception as error:
            if repr(error) != self._last:
                _log.exception("tick")
            self._last = repr(error)
        else:
            self._last = ""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
