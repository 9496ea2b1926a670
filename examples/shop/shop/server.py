"""HTTP: keep-alive, one thread for each connection, and an end that loses no request."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .api import Answer, Shop

LONGEST_BODY_BYTES = 64 * 1024
LAST_REQUESTS_S = 1.0


class Server(ThreadingHTTPServer):
    """The shop on a port. :meth:`stop` finishes what is in flight."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], shop: Shop) -> None:
        super().__init__(address, Handler)
        self.shop = shop
        self.stopping = threading.Event()
        self._change = threading.Condition()
        self._open: dict[socket.socket, bool] = {}

    def busy(self, connection: socket.socket, busy: bool) -> None:
        """Note that a connection is serving a request, or waits for the next one."""
        with self._change:
            if connection in self._open:
                self._open[connection] = busy
            self._change.notify_all()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection before its thread starts."""
        with self._change:
            self._open[request] = False
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._change:
            self._open.pop(request, None)
            self._change.notify_all()
        super().shutdown_request(request)

    def stop(self, within_s: float) -> bool:
        """Stop accepting, answer what was sent or is in flight, and tell whether all of it was answered in time."""
        self.stopping.set()
        self.shutdown()
        self._accept_waiting()
        self.server_close()
        deadline = time.monotonic() + within_s
        # A client may be sending on an idle connection right now: it still gets an answer, with Connection: close.
        self._wait_until_closed(min(deadline, time.monotonic() + LAST_REQUESTS_S))
        with self._change:
            for connection, busy in self._open.items():
                if not busy:
                    _shut(connection)
        return self._wait_until_closed(deadline)

    def _accept_waiting(self) -> None:
        """Take the connections that the kernel accepted for us: closing the socket would reset them."""
        try:
            self.socket.setblocking(False)
            while True:
                connection, address = self.socket.accept()
                connection.setblocking(True)
                self.process_request(connection, address)
        except OSError:
            logging.debug("nobody waits")

    def _wait_until_closed(self, deadline: float) -> bool:
        with self._change:
            return self._change.wait_for(lambda: not self._open, deadline - time.monotonic())


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    # Longer than a load balancer keeps idle connections (60 s): else both close at once and a request is lost.
    timeout = 75
    # Headers and body leave in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Serve the next request of this connection."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True
        finally:
            self.server.busy(self.request, False)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._respond(b"")

    def do_POST(self) -> None:
        """Answer a POST, if its body is of a size."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LONGEST_BODY_BYTES:
            self.close_connection = True
            self._send(Answer(413 if length.isdecimal() else 411, {"error": "body: too long, or of no known length"}))
        else:
            self._respond(self.rfile.read(int(length)))

    def _respond(self, body: bytes) -> None:
        self.server.busy(self.request, True)
        try:
            answer = self.server.shop.answer(self.command, self.path, body)
        except Exception:
            logging.exception("%s %s", self.command, self.path)
            answer = Answer(500, {"error": "a bug in the shop; see its log"})
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        content = json.dumps(answer.body, default=str).encode() + b"\n"
        self.send_response_only(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Version", self.server.shop.version)
        if self.server.stopping.is_set() or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 http.server's name
        """Log complaints only: a line for each request would cost more than the request."""
        logging.debug(format, *args)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        logging.debug("closed already")
