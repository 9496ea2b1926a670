"""Arguments of a call, checked and turned into what moto's own parser makes of them once they have come over the wire.

What botocore's serializer drops on the way (an empty structure) is dropped here as well, so that moto cannot tell how
a call has reached it. Whatever is unusual goes the long way, through botocore's validator and both real serializers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Convert = Callable[[Any], Any]
ABSENT: Any = object()


class Unusual(Exception):  # noqa: N818 - no error: there is a longer way
    """An argument that is wrong, or of a kind that is left to botocore."""


def converter(operation: Any) -> Convert:
    """Return what turns an operation's keyword arguments into moto's parameters.

    :param operation: moto's model of it.
    :raises botocore.exceptions.ParamValidationError: (what is returned does) as boto3 does.
    """
    if operation.input_shape is None:
        return lambda arguments: _the_long_way(operation, arguments) if arguments else {}
    quick = _structure(operation.input_shape, operation.service_model.resolved_protocol)

    def convert(arguments: dict[str, Any]) -> Any:
        try:
            parameters = quick(arguments)
        except Unusual:
            return _the_long_way(operation, arguments)
        return {} if parameters is ABSENT else parameters

    return convert


def _converter(shape: Any, protocol: str) -> Convert:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, protocol)
    if kind == "list":
        return _list(shape, protocol)
    if kind == "map":
        return _map(shape, protocol)
    return SCALARS.get(kind, _unusual) if not shape.metadata.get("min") else _ranged(shape)


def _structure(shape: Any, protocol: str) -> Convert:
    members = shape.members
    required = shape.metadata.get("required", ())
    known: dict[str, Convert] = {}
    defaults = any("default" in member.metadata for member in members.values())

    def convert(value: Any) -> Any:
        if value.__class__ is not dict or shape.is_tagged_union or shape.is_document_type or defaults:
            raise Unusual
        parameters = {}
        for name, given in value.items():
            member = known.get(name)
            if member is None:
                if name not in members:
                    raise Unusual
                member = known[name] = _converter(members[name], protocol)
            converted = member(given)
            if converted is not ABSENT:
                parameters[name] = converted
        for name in required:
            if name not in value:
                raise Unusual
        return parameters or (ABSENT if protocol in ("ec2", "query") else {})

    return convert


def _list(shape: Any, protocol: str) -> Convert:
    shortest = shape.metadata.get("min", 0)
    empty = ABSENT if protocol == "ec2" or (protocol == "query" and shape.serialization.get("flattened")) else []
    inner: list[Convert] = []

    def convert(value: Any) -> Any:
        if value.__class__ not in (list, tuple) or len(value) < shortest:
            raise Unusual
        if not value:
            return empty if empty is ABSENT else []
        if not inner:
            inner.append(_converter(shape.member, protocol))
        converted = [inner[0](each) for each in value]
        if ABSENT in converted:
            raise Unusual
        return converted

    return convert


def _map(shape: Any, protocol: str) -> Convert:
    inner: list[Convert] = []

    def convert(value: Any) -> Any:
        if value.__class__ is not dict or len(value) < shape.metadata.get("min", 0):
            raise Unusual
        if not value:
            return ABSENT if protocol in ("ec2", "query") else {}
        if not inner:
            inner.extend((_converter(shape.key, protocol), _converter(shape.value, protocol)))
        converted = {inner[0](key): inner[1](each) for key, each in value.items()}
        if ABSENT in converted.values():
            raise Unusual
        return converted

    return convert


def _ranged(shape: Any) -> Convert:
    plain, smallest = SCALARS.get(shape.type_name, _unusual), shape.metadata["min"]

    def convert(value: Any) -> Any:
        if (len(value) if value.__class__ is str else value) < smallest:
            raise Unusual
        return plain(value)

    return convert


def _exactly(kind: type) -> Convert:
    def convert(value: Any) -> Any:
        if value.__class__ is not kind:
            raise Unusual
        return value

    return convert


def _unusual(_value: Any) -> Any:
    raise Unusual


SCALARS: Mapping[str, Convert] = {
    "string": _exactly(str),
    "integer": _exactly(int),
    "long": _exactly(int),
    "boolean": _exactly(bool),
    "float": _exactly(float),
    "double": _exactly(float),
}


def _the_long_way(operation: Any, arguments: dict[str, Any]) -> Any:
    """Let botocore check and write the arguments, and moto read them."""
    from botocore.exceptions import ParamValidationError
    from botocore.validate import ParamValidator
    from moto.core.parse import PROTOCOL_PARSERS

    protocol = operation.service_model.resolved_protocol
    if operation.input_shape is not None:
        report = ParamValidator().validate(arguments, operation.input_shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
    request = _serializer(protocol).serialize_to_request(arguments, operation)
    body = request["body"]
    sent: Any = {"method": "POST", "values": body, "headers": {}, "body": body, "url_path": "/", "url_params": {}}
    return PROTOCOL_PARSERS[protocol](operation).parse(sent)


@cache
def _serializer(protocol: str) -> Any:
    from botocore.serialize import create_serializer

    return create_serializer(protocol, include_validation=False)
