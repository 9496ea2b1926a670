"""What moto answers, turned into what boto3 returns, without the wire between them.

Each operation gets walkers made from its output shape once. Where a value is found in moto's models, and what of it is
left out on the wire, follows moto's serializers and botocore's parsers; a test holds the two ways side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from botocore.utils import parse_to_aware_datetime
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker
from moto.core.utils import get_value

from .direct_kept import KEPT

Show = Callable[[Any], Any]
ABSENT: Any = object()
UTC: Any = parse_to_aware_datetime("2030-01-01T00:00:00Z").tzinfo  # the very zone that boto3's times are in
_possible_keys = XFormedAttributePicker.get_possible_keys


class Answers:
    """Walkers of one operation's answers.

    :param operation: moto's model of it.
    :param transforms: moto's changes of single values, by the end of their path.
    """

    def __init__(self, operation: Any, transforms: dict[str, Callable[[Any], Any]]) -> None:
        protocol = operation.service_model.resolved_protocol
        self.operation = operation
        self.is_xml = protocol in ("ec2", "query")
        self.is_ec2 = protocol == "ec2"
        self.transforms = transforms
        self.picker = XFormedAttributePicker(response_transformers=transforms)
        shape = operation.output_shape
        self._show = Structure(self, shape, f"{operation.name}.{shape.name}") if shape is not None else None

    def show(self, result: Any) -> dict[str, Any]:
        """Return an operation's result as boto3 returns it, without ResponseMetadata."""
        return self._show(result) if self._show is not None and result is not None else {}

    def walker(self, shape: Any, path: str) -> Show:
        """Return what shows values of a shape.

        :param path: where in the answer it is, as moto's serializers count.
        """
        kind = shape.type_name
        if kind == "structure":
            structure, keep = Structure(self, shape, path), KEPT.get((self.operation.name, shape.name))
            return structure if keep is None else keep(structure)
        if kind == "list":
            return List(self, shape, path)
        if kind == "map":
            return Map(self, shape, path)
        if kind == "timestamp":
            return _moment_without_fractions if self.is_ec2 else _moment
        if kind == "boolean":
            return _flag if self.is_xml else _same
        if kind == "string":
            return str if self.is_xml else _json_text
        numbers: dict[str, Show] = {"integer": int, "long": int, "float": float, "double": float}
        return numbers.get(kind, _blob)


class Step(NamedTuple):
    """One member of a structure: where its value is, and how it is shown.

    :param key: where it is in models of the layout at hand; None where it may be anywhere, or is not there.
    """

    name: str
    key: str | None
    keys: tuple[str, ...]
    walk: Show
    transform: Callable[[Any], Any] | None


class Structure:
    """Shows models, or dictionaries, as a structure.

    Which keys a member may have in a model is a long list; which of them models with the same attributes do have is
    found out once.
    """

    def __init__(self, answers: Answers, shape: Any, path: str) -> None:
        self._answers = answers
        self._shape = shape
        self._path = path
        self._steps: dict[Any, list[Step]] = {}
        self._walkers: dict[str, Show] = {}  # made when they are first met: shapes may contain themselves

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return the members that are there."""
        kind = value.__class__
        if kind is dict:
            return self._show_mapping(value)
        inner = getattr(value, "__dict__", None)
        if inner is None or hasattr(kind, "__getitem__") or hasattr(kind, "__getattr__"):
            layout: Any = kind
        else:
            layout = (kind, tuple(inner))
        steps = self._steps.get(layout)
        if steps is None:
            steps = self._plan(layout, value)
        shown = {}
        for name, key, keys, walk, transform in steps:
            found = ABSENT if key is None else getattr(value, key, ABSENT)
            if found is ABSENT:
                found = _find(value, keys)
            if transform is not None:
                found = transform(found)
            if found is not None:
                shown[name] = walk(found)
        if ABSENT in shown.values():
            shown = {name: each for name, each in shown.items() if each is not ABSENT}
        return shown

    def _show_mapping(self, value: dict[str, Any]) -> dict[str, Any]:
        layout = tuple(value)
        steps = self._steps.get(layout)
        if steps is None:
            steps = self._plan(layout, value)
        shown = {}
        for name, key, keys, walk, transform in steps:
            found = value[key] if key is not None else _find(value, keys)
            if transform is not None:
                found = transform(found)
            if found is not None:
                answer = walk(found)
                if answer is not ABSENT:
                    shown[name] = answer
        return shown

    def _plan(self, layout: Any, value: Any) -> list[Step]:
        steps = []
        for name, member in self._shape.members.items():
            member.parent = self._shape
            where = f"{self._path}.{name}"
            transform = next((each for end, each in self._answers.transforms.items() if where.endswith(end)), None)
            context = AttributePickerContext(value, name, member, self._answers.operation, None, self._path)
            keys = tuple(dict.fromkeys(_possible_keys(self._answers.picker, context)))
            key = None
            if isinstance(layout, tuple):
                key = next((each for each in keys if _has(value, each)), None)
                if key is None and not any("." in each for each in keys):
                    keys = ()
            if key is not None or keys or transform is not None:
                steps.append(Step(name, key, keys, self.member(name), transform))
        self._steps[layout] = steps
        return steps

    def member(self, name: str) -> Show:
        """Return what shows a member's values."""
        if name not in self._walkers:
            self._walkers[name] = self._answers.walker(self._shape.members[name], f"{self._path}.{name}")
        return self._walkers[name]


def _has(value: Any, key: str) -> bool:
    if "." in key:
        return False
    if value.__class__ is dict:
        return key in value
    return key in value.__dict__ or hasattr(value.__class__, key)


def _find(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        found = get_value(value, key, ABSENT)
        if found is not ABSENT:
            return found
    return None


class List:
    """Shows lists; XML has no place for an empty structure in one."""

    def __init__(self, answers: Answers, shape: Any, path: str) -> None:
        member = shape.member
        self.show_item = answers.walker(member, f"{path}.{member.name}")
        self._is_xml = answers.is_xml
        self._drops = answers.is_xml and member.type_name == "structure"
        self._vanishes = answers.is_xml and bool(shape.serialization.get("flattened"))

    def __call__(self, value: Any) -> Any:
        """Return the items."""
        walk = self.show_item
        if self._drops:
            shown = [each for each in [walk(each) for each in value if each is not None] if each]
        elif self._is_xml:
            shown = [walk(each) for each in value]
        else:
            shown = [each if each is None else walk(each) for each in value]
        return shown if shown or not self._vanishes else ABSENT


class Map:
    """Shows mappings."""

    def __init__(self, answers: Answers, shape: Any, path: str) -> None:
        self._walk = answers.walker(shape.value, f"{path}.value")
        self._is_xml = answers.is_xml

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return the pairs."""
        return {str(key): self._walk(each) for key, each in value.items() if each is not None or not self._is_xml}


def _same(value: Any) -> Any:
    return value


def _flag(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _json_text(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    return value if value in (None, {}, []) else str(value)


def _blob(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _moment(value: Any) -> datetime:
    if value.__class__ is datetime and value.tzinfo is None:
        moment: datetime = value.replace(tzinfo=UTC)
        return moment
    return _parse(value)


@lru_cache(1000)
def _parse(value: Any) -> datetime:
    moment: datetime = parse_to_aware_datetime(value)
    return moment


def _moment_without_fractions(value: Any) -> datetime:
    return _moment(value).replace(microsecond=0)
