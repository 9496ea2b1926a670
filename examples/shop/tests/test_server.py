"""The shop over HTTP: keep-alive, and an end that loses no request."""

import http.client
import json
import threading

import pytest


def get(connection, target):
    connection.request("GET", target)
    answer = connection.getresponse()
    return answer, json.loads(answer.read())


@pytest.fixture
def connection(server):
    opened = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    yield opened
    opened.close()


def test_many_requests_share_a_connection(connection):
    get(connection, "/version")
    socket = connection.sock
    for _ in range(10):
        answer, body = get(connection, "/version")
        assert (answer.status, body["version"], answer.headers["X-Version"]) == (200, "1.2.3", "1.2.3")
    assert connection.sock is socket


def test_an_order_without_a_length_is_refused(connection):
    connection.putrequest("POST", "/orders")
    connection.endheaders()
    assert connection.getresponse().status == 411


def test_a_request_in_flight_is_finished_when_the_server_stops(server, connection):
    answers = []
    slow = threading.Thread(target=lambda: answers.append(get(connection, "/slow?seconds=1.5")))
    slow.start()
    with server._change:
        assert server._change.wait_for(lambda: any(server._open.values()), 10)
    assert server.stop(10)
    slow.join()
    assert answers[0][0].status == 200
    assert answers[0][0].headers["Connection"] == "close"


def test_an_idle_connection_does_not_hold_up_the_end(server, connection):
    get(connection, "/version")
    assert server.stop(10)


def test_nothing_is_accepted_after_the_end(server, connection):
    server.stop(10)
    with pytest.raises(ConnectionRefusedError):
        get(connection, "/version")
