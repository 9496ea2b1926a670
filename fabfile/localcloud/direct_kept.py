"""Answers about what has not changed, kept: a release asks for a thousand instances again and again.

A model is shown as it was before while its attributes and tags are the same and no call has been made that could have
changed what hangs on them. The cloud reports every call to :func:`note`, whichever way it came. Whoever gets such an
answer shares it with whoever got it before, and must not change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .direct_answers import Structure

# EC2's actions that change an instance in its own attributes and tags alone, or no instance that there is.
PLAIN = frozenset(
    {
        "CreateFleet",
        "CreateImage",
        "CreateLaunchTemplateVersion",
        "CreateTags",
        "DeleteTags",
        "DeregisterImage",
        "GetConsoleOutput",
        "RebootInstances",
        "RunInstances",
        "StartInstances",
        "StopInstances",
        "TerminateInstances",
    }
)
_kept: list[dict[Any, Any]] = []
_edits = [0]


def note(service: str, action: str) -> None:
    """Hear of a call."""
    if service == "ec2" and action not in PLAIN and not action.startswith("Describe"):
        _edits[0] += 1


def forget() -> None:
    """Keep nothing of a cloud that is gone."""
    for each in _kept:
        each.clear()


class Versioned:
    """A model that counts how often an attribute of it has changed."""

    if not TYPE_CHECKING:  # or else a model might be given any attribute

        def __setattr__(self, name: str, value: Any) -> None:
            """Set an attribute, and count that if it was another before."""
            inner = self.__dict__
            if name not in inner or inner[name] is not value:
                super().__setattr__(name, value)
                inner["changes"] = inner.get("changes", 0) + 1


class OfModels:
    """Shows versioned models, those that have not changed as before.

    :param structure: shows one.
    """

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._shown: dict[int, tuple[Any, int, dict[str, str] | None, int, dict[str, Any]]] = {}
        _kept.append(self._shown)

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return what it shows."""
        inner = value.__dict__
        backend = inner.get("ec2_backend")
        tags = backend.tags.get(value.id) if backend is not None else None
        known = self._shown.get(id(value))
        if known is not None:
            model, changes, were, edits, shown = known
            if model is value and changes == inner["changes"] and were == tags and edits == _edits[0]:
                return shown
        shown = self._structure(value)
        if "changes" in inner:
            self._shown[id(value)] = (value, inner["changes"], tags and {**tags}, _edits[0], shown)
        return shown


class OfReservations:
    """Shows reservations, of which nothing changes but the instances that an answer has."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        show_instances: Any = structure.member("Instances")
        self._show_instance = show_instances.show_item
        self._shown: dict[str, dict[str, Any]] = {}
        _kept.append(self._shown)

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return what it shows."""
        shown = self._shown.get(value.id)
        if shown is None:
            shown = self._shown[value.id] = self._structure(value)
        return {**shown, "Instances": [*map(self._show_instance, value.instances)]}


class OfTexts:
    """Shows models and dictionaries that hold nothing but texts."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._shown: dict[Any, dict[str, Any]] = {}
        _kept.append(self._shown)

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return what it shows."""
        key = (*value, *value.values()) if value.__class__ is dict else (value.__class__, *value.__dict__.values())
        shown = self._shown.get(key)
        if shown is None:
            shown = self._shown[key] = self._structure(value)
        return shown


KEPT: dict[tuple[str, str], type[OfModels] | type[OfReservations] | type[OfTexts]] = {
    ("DescribeInstances", "Reservation"): OfReservations,
    ("DescribeInstances", "Instance"): OfModels,
    ("DescribeInstanceStatus", "InstanceStatus"): OfModels,
    ("DescribeAutoScalingGroups", "Instance"): OfModels,
    ("DescribeTargetHealth", "TargetHealthDescription"): OfTexts,
    ("DescribeInstanceHealth", "InstanceState"): OfTexts,
}
