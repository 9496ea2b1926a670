"""What the shop answers to a request: no sockets here."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .orders import Orders, UnavailableError

ORDER = re.compile(r"/orders/([0-9]{1,18})")
MOST_ORDERS = 100
SLOWEST_S = 20.0
MOST_ITEMS = 1000


@dataclass(frozen=True)
class Answer:
    """Status and JSON body."""

    status: int
    body: Any


@dataclass(frozen=True)
class Shop:
    """The shop: its version, and its orders."""

    version: str
    host: str
    orders: Orders

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """Answer one request; a database that is away is a 503 with the reason."""
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        try:
            return self._route(method, url.path, query, body)
        except UnavailableError as error:
            return Answer(503, {"error": f"database: {error}"})
        except ValueError as error:
            return Answer(400, {"error": str(error)})

    def _route(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        if (method, path) == ("POST", "/orders"):
            return Answer(201, self.orders.add(*_ordered(body)))
        if method != "GET":
            return Answer(405, {"error": f"{method} is not for {path}"})
        if path == "/health":
            self.orders.check()
            return Answer(200, {"status": "ok", "version": self.version})
        if path == "/version":
            return Answer(200, {"version": self.version, "host": self.host})
        if path == "/slow":
            return self._slow(_number(query.get("seconds", "3"), "seconds", SLOWEST_S))
        if path == "/orders":
            return Answer(200, self.orders.latest(int(_number(query.get("limit", "20"), "limit", MOST_ORDERS))))
        return self._order(path)

    def _order(self, path: str) -> Answer:
        match = ORDER.fullmatch(path)
        found = self.orders.get(int(match[1])) if match else None
        return Answer(404, {"error": f"nothing at {path}"}) if found is None else Answer(200, found)

    def _slow(self, seconds: float) -> Answer:
        time.sleep(seconds)
        return Answer(200, {"slept_s": seconds, "version": self.version})


def _number(text: str, name: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise ValueError(f"{name}: must be a number from 0 to {most:g} (got {text!r})")
    return value


def _ordered(body: bytes) -> tuple[str, int]:
    try:
        wish = json.loads(body)
        item, quantity = wish["item"], wish["quantity"]
    except (ValueError, KeyError, TypeError):
        raise ValueError('body: must be JSON like {"item": "tea", "quantity": 2}') from None
    if not isinstance(item, str) or not item.strip() or "\0" in item:
        raise ValueError(f"item: must be a name (got {item!r})")
    if type(quantity) is not int or not 1 <= quantity <= MOST_ITEMS:
        raise ValueError(f"quantity: must be a whole number from 1 to {MOST_ITEMS} (got {quantity!r})")
    return item, quantity
