"""Moto's way of finding instances and tags, quicker: it looks at all there are, and a fleet may have a thousand.

Each function takes the place of one of moto's and answers as that does.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import moto.ec2.utils as moto_utils
from moto.ec2.exceptions import InvalidInstanceIdError
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import InstanceBackend, Reservation
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, filter_reservations, get_prefix

_PATTERN = re.compile(r"[*?\[\\]")
_tag_filter_matches = moto_utils.tag_filter_matches
_describe_tags = TaggedEC2Resource.get_tags


def get_tags(self: Any) -> list[dict[str, str]]:
    """Return a resource's tags."""
    tags = self.ec2_backend.tags.get(self.id) if self.id else None
    if not tags:
        return []
    if _PATTERN.search(self.id):
        return _describe_tags(self)
    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.id), "")
    return [{"resource_id": self.id, "key": key, "value": value, "resource_type": kind} for key, value in tags.items()]


def tag_filter_matches(obj: Any, filter_name: str, filter_values: list[str]) -> bool:
    """Tell whether a resource has the tag that a filter asks for."""
    tags = getattr(obj, "ec2_backend", None) and obj.ec2_backend.tags.get(obj.id, {})
    if tags is None or not filter_name.startswith("tag:") or any(map(_PATTERN.search, filter_values)):
        return _tag_filter_matches(obj, filter_name, filter_values)
    return tags.get(filter_name[4:], _NONE) in filter_values


def all_reservations(self: Any, filters: Any = None) -> list[Reservation]:
    """Return all reservations, those that have instances that pass the filters."""
    wanted = (filters or {}).get("instance-id")
    if wanted is None:
        found = [copy.copy(reservation) for reservation in list(self.reservations.values())]
        return found if filters is None else filter_reservations(found, filters)
    found = list(_holding(self.reservations.values(), wanted))
    rest = {name: values for name, values in filters.items() if name != "instance-id"}
    return filter_reservations(found, rest) if rest else found


def get_reservations_by_instance_ids(self: Any, instance_ids: list[str], filters: Any = None) -> list[Reservation]:
    """Return the reservations of these instances, with these instances alone."""
    found = list(_holding(self.all_reservations(), instance_ids))
    held = {instance.id for reservation in found for instance in reservation.instances}
    if len(held) != len(instance_ids):
        raise InvalidInstanceIdError(next(iter(set(instance_ids) - held)))
    return found if filters is None else filter_reservations(found, filters)


def _holding(reservations: Iterable[Reservation], instance_ids: Iterable[str]) -> Iterable[Reservation]:
    """Give copies of the reservations of these instances, that hold no others."""
    wanted = set(instance_ids)
    for reservation in list(reservations):
        held = [instance for instance in reservation.instances if instance.id in wanted]
        if held:
            found = copy.copy(reservation)
            found.instances = held
            yield found


_NONE = object()
SWAPS: list[tuple[Any, str, Any]] = [
    (TaggedEC2Resource, "get_tags", get_tags),
    (moto_utils, "tag_filter_matches", tag_filter_matches),
    (InstanceBackend, "all_reservations", all_reservations),
    (InstanceBackend, "get_reservations_by_instance_ids", get_reservations_by_instance_ids),
]
