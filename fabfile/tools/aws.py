"""Sessions with AWS, or with whatever answers at the env's endpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ..plan.settings import Settings

_LOOPBACK = ("127.", "10.", "172.", "192.168.", "localhost")

Clients = Callable[["str", "Settings", "bool"], Any]
_others: list[Clients] = []


@contextmanager
def using(clients: Clients) -> Iterator[None]:
    """Take every client from here for a while: how a cloud inside this process is reached.

    :param clients: gives a client, with boto3's methods and errors, for what :func:`client` is asked.
    """
    _others.append(clients)
    try:
        yield
    finally:
        _others.remove(clients)


def client(service: str, settings: Settings, *, in_haste: bool = False) -> Any:
    """Return a boto3 client for the env of these settings.

    Retries are boto3's adaptive mode: it slows down by itself when AWS throttles
    (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/retries.html).
    A local endpoint gets made-up credentials, so that nobody's real ones are sent to it.

    :param in_haste: for what is good to know and nobody waits long for: few retries, short waits.
    """
    if _others:
        return _others[-1](service, settings, in_haste)
    return _client(service, settings.region, settings.endpoint, in_haste)


@cache
def _client(service: str, region: str, endpoint: str | None, in_haste: bool = False) -> Any:
    import boto3
    from botocore.config import Config

    make: Any = boto3.client  # typed as an overload of every service there is
    made_up = made_up_credentials(endpoint)
    # A local cloud that does not answer is not there; AWS itself is worth more patience.
    retries = {"mode": "standard", "max_attempts": 3} if made_up else {"mode": "adaptive", "max_attempts": 10}
    if in_haste:
        retries = {"mode": "standard", "max_attempts": 2}
    waits = {"connect_timeout": 3, "read_timeout": 6} if in_haste else {"connect_timeout": 5, "read_timeout": 30}
    config = Config(retries=retries, **waits)  # type: ignore[arg-type]
    return make(service, region_name=region, endpoint_url=endpoint, config=config, **made_up)


def made_up_credentials(endpoint: str | None) -> dict[str, str]:
    """Return credentials for an endpoint on a network of our own, by boto3's names; nothing for any other."""
    if (urlsplit(endpoint or "").hostname or "").startswith(_LOOPBACK):
        return {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return {}


def explain(error: Exception) -> str | None:
    """Return why AWS did not answer us, with the way out, in one line; None for any other error."""
    if "botocore" not in sys.modules:  # nobody asked AWS anything, and loading it would only cost time
        return None
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError):
        return "no AWS credentials; set AWS_PROFILE, or run where there is a role"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        address = urlsplit(str(error.kwargs.get("endpoint_url", "")))
        where = f"at {address.scheme}://{address.netloc}" if address.netloc else "of AWS"
        return f"nothing answers {where}; check headway.endpoint and the network (the local cloud: fab lab.up)"
    if isinstance(error, exceptions.ClientError) and error.response["Error"].get("Code") == "NoSuchBucket":
        bucket = error.response["Error"].get("BucketName", "of that name")
        return (
            f"there is no S3 bucket {bucket}; create it, or correct headway.release.state (the local cloud: fab lab.up)"
        )
    return None


def split_s3_url(url: str) -> tuple[str, str]:
    """Split ``s3://bucket/prefix`` into bucket and prefix (without slashes around it)."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")
