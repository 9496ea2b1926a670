"""A real database; whatever a test writes is rolled back."""

import os
import threading
from contextlib import contextmanager

import psycopg2
import pytest

from shop.api import Shop
from shop.orders import Orders
from shop.server import Server


class Rolled:
    """One connection in one transaction that never commits; requests take turns."""

    def __init__(self, opened):
        self._opened = opened
        self._turn = threading.Lock()

    @contextmanager
    def connection(self):
        with self._turn:
            yield self._opened


@pytest.fixture
def orders():
    opened = psycopg2.connect(os.environ["DATABASE_URL"])
    yield Orders(Rolled(opened))
    opened.rollback()
    opened.close()


@pytest.fixture
def shop(orders):
    return Shop("1.2.3", "here", orders)


@pytest.fixture
def server(shop):
    running = Server(("127.0.0.1", 0), shop)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield running
    running.stop(10)
    thread.join()
