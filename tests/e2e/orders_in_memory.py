"""What the shop of the stories has in place of its `orders.py`: orders in memory, so that it needs no database.

Everything else of it is examples/shop as it is: its server, its answers, the way it ends.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

MOST_KEPT = 100
BROKEN = "broken"
WHY = "the warehouse does not answer"


class UnavailableError(Exception):
    """The orders cannot be had; the text says why."""


class Pool:
    """Stands where the shop has its connections; DATABASE_URL=broken makes a version that is never healthy."""

    def __init__(self, url: str) -> None:
        self.url = url

    def close(self) -> None:
        """Close nothing."""


class Orders:
    """The newest orders of this instance."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._orders: dict[int, dict[str, Any]] = {}

    def check(self) -> None:
        """Say whether orders can be taken.

        :raises UnavailableError: never, or always.
        """
        if self._pool.url == BROKEN:
            logging.error("no order can be taken: %s", WHY)
            raise UnavailableError(WHY)

    def add(self, item: str, quantity: int) -> dict[str, Any]:
        """Take an order."""
        with self._lock:
            number = max(self._orders, default=0) + 1
            self._orders[number] = {"id": number, "item": item, "quantity": quantity}
            self._orders.pop(number - MOST_KEPT, None)
            return self._orders[number]

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """List the newest orders."""
        with self._lock:
            return list(self._orders.values())[::-1][:limit]

    def get(self, number: int) -> dict[str, Any] | None:
        """Find an order."""
        with self._lock:
            return self._orders.get(number)
