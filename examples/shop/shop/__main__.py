"""``python3 -m shop``: serves until SIGTERM. DATABASE_URL says where the orders are."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from .api import Shop
from .orders import Orders, Pool
from .server import Server

METADATA = Path("/usr/share/shop/headway.json")
FINISH_WITHIN_S = 30.0


def version() -> str:
    """Return the version of the installed package, or ``dev`` where none is installed."""
    try:
        return str(json.loads(METADATA.read_text())["version"])
    except FileNotFoundError:
        return "dev"


def main() -> int:
    """Serve until SIGTERM or SIGINT, then finish what is in flight."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    url = os.environ.get("DATABASE_URL")
    if not url:
        print("shop: DATABASE_URL is not set; the service reads it from /etc/shop/environment", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pool = Pool(url)
    shop = Shop(version(), socket.gethostname(), Orders(pool))
    server = Server(("0.0.0.0", int(os.environ.get("PORT", "8080"))), shop)  # noqa: S104 behind a load balancer
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    logging.info("shop %s serves on port %d", shop.version, server.server_port)
    stop.wait()
    finished = server.stop(FINISH_WITHIN_S)
    pool.close()
    logging.info("shop %s has stopped; %s", shop.version, "nothing was lost" if finished else "some requests were cut")
    return 0 if finished else 1


if __name__ == "__main__":
    sys.exit(main())
