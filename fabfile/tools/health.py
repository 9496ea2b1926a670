"""The application's own health check, asked of an instance directly, before it gets traffic."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

_AT_ONCE = 32
_BODY_BYTES = 200


def ask_all(addresses: Mapping[str, str], path: str, port: int, timeout_s: float) -> dict[str, tuple[bool, str]]:
    """Ask many instances at once.

    :param addresses: address by instance id.
    :returns: by instance id, whether it answered 200, and what it answered in a few words.
    """
    if not addresses:
        return {}
    with ThreadPoolExecutor(min(_AT_ONCE, len(addresses))) as pool:
        answers = pool.map(lambda address: ask(address, path, port, timeout_s), addresses.values())
        return dict(zip(addresses, answers, strict=True))


def ask(address: str, path: str, port: int, timeout_s: float) -> tuple[bool, str]:
    """Ask one instance; anything but a 200 in time is no."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"User-Agent": "headway", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(_BODY_BYTES).decode(errors="replace")
        return response.status == http.HTTPStatus.OK, f"{response.status} {' '.join(body.split())}"
    except (OSError, http.client.HTTPException) as error:
        return False, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    finally:
        connection.close()
