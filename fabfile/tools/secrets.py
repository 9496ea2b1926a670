"""Secrets: kept elsewhere, named in the settings, read when they are needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..plan.outcome import Refusal
from ..plan.reference import why_not_reference
from ..plan.wording import one_line

if TYPE_CHECKING:
    from ..plan.settings import Settings


def resolve(reference: str, settings: Settings, setting: str) -> str:
    """Return the secret that a setting refers to.

    :param reference: ``ssm:NAME`` (AWS Systems Manager Parameter Store, decrypted), ``env:VARIABLE`` or ``file:PATH``.
    :param setting: path of the setting, for messages.
    :raises Refusal: there is no such secret, or it is empty; names the reference, never what it holds.
    """
    if reason := why_not_reference(reference, setting):
        raise Refusal(reason)
    scheme, _, name = reference.partition(":")
    readers = {"ssm": _from_parameter_store, "env": _from_environment, "file": _from_file}
    try:
        value = readers[scheme](name, settings).strip()
    except _NotFoundError as error:
        raise Refusal(f"{setting}: {reference}: {error}") from None
    if not value:
        raise Refusal(f"{setting}: {reference} is empty")
    return value


class _NotFoundError(Exception):
    """Why a secret cannot be read."""


def _from_environment(name: str, _settings: Settings) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise _NotFoundError(f"the variable is not set; export {name}=…") from None


def _from_file(name: str, _settings: Settings) -> str:
    try:
        return Path(name).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _NotFoundError(f"cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None


def _from_parameter_store(name: str, settings: Settings) -> str:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    from .aws import client, explain

    try:
        answer = client("ssm", settings).get_parameter(Name=name, WithDecryption=True)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ParameterNotFound":
            raise _NotFoundError(f"no such parameter in {settings.region}; aws ssm put-parameter makes it") from None
        if "AccessDenied" not in code and (said := explain(error)):
            raise _NotFoundError(said) from None
        raise _NotFoundError(f"AWS answered {code}; ssm:GetParameter (and kms:Decrypt) must be allowed") from None
    except (BotoCoreError, ResponseParserError) as error:
        raise _NotFoundError(explain(error) or one_line(error)) from None
    return str(answer["Parameter"]["Value"])
