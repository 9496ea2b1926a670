"""What the shop answers, on a real database."""

import json

import pytest

from shop.api import Shop
from shop.orders import Orders, Pool


def ordered(shop, **wish):
    return shop.answer("POST", "/orders", json.dumps(wish).encode())


def test_an_order_can_be_read_back(shop):
    made = ordered(shop, item="tea", quantity=2)
    assert made.status == 201
    read = shop.answer("GET", f"/orders/{made.body['id']}", b"")
    assert (read.status, read.body) == (200, made.body)


def test_the_newest_orders_come_first(shop):
    ids = [ordered(shop, item="tea", quantity=number).body["id"] for number in (1, 2, 3)]
    newest = shop.answer("GET", "/orders?limit=2", b"")
    assert [order["id"] for order in newest.body] == [ids[2], ids[1]]


def test_an_order_that_is_not_there_is_404(shop):
    assert shop.answer("GET", "/orders/999999999", b"").status == 404


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"item": "", "quantity": 1},
        {"item": "tea", "quantity": 0},
        {"item": "tea", "quantity": True},
        {"item": "a\0b", "quantity": 1},
    ],
)
def test_a_bad_order_is_refused_with_the_reason(shop, wish):
    answer = ordered(shop, **wish)
    assert answer.status == 400
    assert answer.body["error"]


@pytest.mark.parametrize("target", ["/orders?limit=-1", "/orders?limit=many", "/slow?seconds=1e9", "/slow?seconds=nan"])
def test_a_number_out_of_bounds_is_refused(shop, target):
    assert shop.answer("GET", target, b"").status == 400


def test_health_reads_the_database(shop):
    assert shop.answer("GET", "/health", b"").status == 200


def test_health_is_503_with_the_reason_when_the_database_is_away():
    away = Shop("1.2.3", "here", Orders(Pool("postgresql://nobody@127.0.0.1:1/none")))
    answer = away.answer("GET", "/health", b"")
    assert answer.status == 503
    assert "Connection refused" in answer.body["error"]


def test_health_is_503_when_the_schema_is_older_than_the_code(shop, orders):
    with orders._source.connection() as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE orders DROP COLUMN quantity")
    answer = shop.answer("GET", "/health", b"")
    assert answer.status == 503
    assert "quantity" in answer.body["error"]
