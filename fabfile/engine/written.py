"""Values of ours as JSON, and back: by their types alone, so that a new field needs no line here.

What an older or newer Headway wrote stays readable: a key that is not known is ignored, one that is missing takes its
default.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def written(value: Any) -> bytes:
    """Write a value as JSON that :func:`read_as` reads back."""
    return json.dumps(plain(value), indent=1).encode()


def read_as(kind: type[_T], body: bytes) -> _T:
    """Read what :func:`written` wrote.

    :raises ValueError: it is no JSON, or lacks what has no default, or holds what cannot be meant.
    """
    try:
        found: _T = shaped(kind, json.loads(body))
    except (TypeError, OverflowError, RecursionError) as error:  # whoever can write to the bucket may have written it
        raise ValueError(f"cannot be meant: {error}") from error
    return found


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: dataclasses to mappings, sets to sorted lists, times to ISO 8601."""
    if value is None or type(value) in (str, int, float, bool):  # most of what there is
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted((plain(inner) for inner in value), key=json.dumps)
    if isinstance(value, (tuple, list)):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value


def shaped(kind: Any, raw: Any) -> Any:
    """Give what JSON held the shape of a type.

    :param kind: a type as an annotation has it.
    :raises ValueError: it does not fit.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (Any, object) or origin is Literal:
        return raw
    if origin in (Union, UnionType):
        return _one_of(inner, raw)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, raw)
    if origin in (tuple, list, set, frozenset):
        return _several(origin, inner, raw)
    if origin is dict:
        return {shaped(inner[0], key): shaped(inner[1], value) for key, value in _checked(dict, raw).items()}
    return _single(kind, raw)


def _single(kind: Any, raw: Any) -> Any:
    if kind is datetime:
        return _moment(datetime.fromisoformat(_checked(str, raw)))
    if kind is timedelta:
        return timedelta(seconds=raw)
    if kind is NoneType:
        return _checked(NoneType, raw)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(raw)
    if kind is float and type(raw) is int:
        return float(raw)
    if kind is int and isinstance(raw, str):  # the key of a mapping: JSON has only texts there
        return int(raw)
    return _checked(kind, raw)


def _moment(at: datetime) -> datetime:
    """Return a time that says where on earth it is meant: one that does not cannot be compared with any other."""
    if at.utcoffset() is None:
        raise ValueError(f"expected a time with its zone, got {at.isoformat()!r}")
    return at


def _checked(kind: type, raw: Any) -> Any:
    if isinstance(raw, kind):
        return raw
    raise ValueError(f"expected {kind.__name__}, got {raw!r}")


def _several(origin: type, inner: tuple[Any, ...], raw: Any) -> Any:
    items = _checked(list, raw)
    if origin is tuple and (len(inner) != 2 or inner[1] is not ...):
        if len(items) != len(inner):
            raise ValueError(f"expected {len(inner)} values, got {items!r}")
        return tuple(shaped(each, item) for each, item in zip(inner, items, strict=True))
    return origin(shaped(inner[0], item) for item in items)


def _one_of(choices: tuple[Any, ...], raw: Any) -> Any:
    if raw is None and NoneType in choices:
        return None
    for choice in choices:
        try:
            if choice is not NoneType:
                return shaped(choice, raw)
        except ValueError:
            continue
    raise ValueError(f"cannot be any of {choices!r}: {raw!r}")


def _dataclass(kind: type, raw: Any) -> Any:
    found = _checked(dict, raw)
    hints, known = _hints(kind), [field for field in fields(kind) if field.init]
    missing = [field.name for field in known if field.name not in found and not _has_default(field)]
    if missing:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**{field.name: shaped(hints[field.name], found[field.name]) for field in known if field.name in found})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING
