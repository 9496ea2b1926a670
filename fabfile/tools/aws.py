"""Sessions with AWS, or with whatever answers at the env's endpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..plan.wording import one_line

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from ..plan.settings import Settings

# What asks and changes nothing, by the words that names of such actions begin with in the services that we use.
_READING = ("Describe", "Get", "List", "Head")
_OF_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {"AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException"}
_UNKNOWN |= {"SignatureDoesNotMatch", "InvalidToken"}
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_LOOPBACK = ("127.", "10.", "172.", "192.168.", "localhost")

Clients = Callable[["str", "Settings", "bool"], Any]
_others: list[Clients] = []
_writes = 0
_endpoints: set[str] = set()


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

    if endpoint:
        _endpoints.add(endpoint)
    make: Any = boto3.client  # typed as an overload of every service there is
    made_up = made_up_credentials(endpoint)
    # A local cloud that does not answer is not there; AWS itself is worth more patience.
    retries = {"mode": "standard", "max_attempts": 3} if made_up else {"mode": "adaptive", "max_attempts": 10}
    if in_haste:
        retries = {"mode": "standard", "max_attempts": 2}
    waits = {"connect_timeout": 3, "read_timeout": 6} if in_haste else {"connect_timeout": 5, "read_timeout": 30}
    config = Config(retries=retries, **waits)  # type: ignore[arg-type]
    made = make(service, region_name=region, endpoint_url=endpoint, config=config, **made_up)
    made.meta.events.register("before-call", _note_call)
    return made


def made_up_credentials(endpoint: str | None) -> dict[str, str]:
    """Return credentials for an endpoint on a network of our own, by boto3's names; nothing for any other."""
    if (urlsplit(endpoint or "").hostname or "").startswith(_LOOPBACK):
        return {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return {}


def writes() -> int:
    """Count the calls of this process, so far, that may have changed something in AWS."""
    return _writes


def note_write(**_event: object) -> None:
    """Count something that may have changed AWS: a call of boto3, or what we start that makes calls of its own."""
    global _writes  # noqa: PLW0603 - one number of the process, as its calls are
    _writes += 1


def _note_call(model: Any, **_event: object) -> None:
    """Hear of a call before it is sent: one without an answer may have arrived all the same."""
    if not model.name.startswith(_READING):
        note_write()


def explain(error: Exception) -> str | None:
    """Return why AWS did not answer us, with the way out, in one line; None for any other error."""
    if "botocore" not in sys.modules:  # nobody asked AWS anything, and loading it would only cost time
        return None
    from botocore import exceptions, parsers

    if isinstance(error, exceptions.ProfileNotFound):
        profile = error.kwargs.get("profile")
        return (
            f"no AWS profile {profile!r}; set AWS_PROFILE to one of `aws configure list-profiles`, "
            f"or make it: aws configure --profile {profile}"
        )
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no AWS credentials; set AWS_PROFILE, or run where there is a role"
    if isinstance(error, _of(exceptions, "CredentialRetrievalError", "SSOError", "TokenRetrievalError")):
        return f"AWS credentials cannot be had ({one_line(error)}); log in again: aws sso login, or set AWS_PROFILE"
    if isinstance(error, parsers.ResponseParserError):
        return f"what answers is no AWS API, or has no such region; check headway.region{_and_endpoint()}"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return _why_silent(str(error.kwargs.get("endpoint_url", "")))
    return _explain_answer(error) if isinstance(error, exceptions.ClientError) else None


def _of(module: Any, *names: str) -> tuple[type[Exception], ...]:
    """Return exceptions by their names: not every botocore has them all."""
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def _why_silent(url: str) -> str:
    address = urlsplit(url)
    where = f"at {address.scheme}://{address.netloc}" if address.netloc else "of AWS"
    if (address.hostname or "").endswith(_OF_AWS) or (not address.netloc and not _endpoints):
        return f"nothing answers {where}; check the network, and headway.region"
    return f"nothing answers {where}; check headway.endpoint and the network{_in_the_lab()}"


def _explain_answer(error: ClientError) -> str | None:
    said = error.response["Error"]
    code = said.get("Code", "")
    if code == "NoSuchBucket":
        bucket = said.get("BucketName", "of that name")
        return f"there is no S3 bucket {bucket}; create it, or correct headway.release.state{_in_the_lab()}"
    if code in _EXPIRED:
        return f"AWS credentials have expired ({code}); log in again, such as: aws sso login"
    if code in _UNKNOWN:
        return f"AWS does not know these credentials ({code}); set AWS_PROFILE, or run where there is a role"
    if code in _FORBIDDEN:
        return f"AWS does not allow {error.operation_name} ({code}); the README names every permission that is needed"
    return None


def _and_endpoint() -> str:
    return f" and headway.endpoint{_in_the_lab()}" if _endpoints else ""


def _in_the_lab() -> str:
    """Say how a local cloud comes up, where one is meant at all."""
    return " (the local cloud: fab lab.up)" if any(made_up_credentials(each) for each in _endpoints) else ""


def split_s3_url(url: str) -> tuple[str, str]:
    """Split ``s3://bucket/prefix`` into bucket and prefix (without slashes around it)."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")
