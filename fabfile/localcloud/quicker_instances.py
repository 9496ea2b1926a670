"""Moto's way of finding instances and tags, quicker: it looks at all there are, and a fleet may have a thousand.

Each function takes the place of one of moto's and answers as that does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import moto.ec2.models.instances as moto_instances
import moto.ec2.utils as moto_utils
from moto.ec2.exceptions import InvalidInstanceIdError
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS
from moto.ec2.models.instances import Instance, InstanceBackend, Reservation
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, filter_reservations, get_prefix

_PATTERN = re.compile(r"[*?\[\\]")
_NONE = object()
_tag_filter_matches = moto_utils.tag_filter_matches
_describe_tags = TaggedEC2Resource.get_tags
_get_instance = InstanceBackend.get_instance


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
    filters, wanted = dict(filters or {}), None
    if "instance-id" in filters:
        wanted = set(filters.pop("instance-id"))
    for name, values in list(filters.items()):
        if name.startswith("tag:") and not any(map(_PATTERN.search, values)):
            tagged = {each for each, tags in list(self.tags.items()) if tags.get(name[4:], _NONE) in values}
            wanted = tagged if wanted is None else wanted & tagged
            del filters[name]
    if wanted is None:
        found = [_copy(reservation, reservation.instances) for reservation in list(self.reservations.values())]
    else:
        found = _holding(self, wanted)
    return filter_reservations(found, filters) if filters else found


def get_reservations_by_instance_ids(self: Any, instance_ids: list[str], filters: Any = None) -> list[Reservation]:
    """Return the reservations of these instances, with these instances alone."""
    found = self.all_reservations({"instance-id": instance_ids})
    held = {instance.id for reservation in found for instance in reservation.instances}
    if len(held) != len(instance_ids):
        raise InvalidInstanceIdError(next(iter(set(instance_ids) - held)))
    return found if filters is None else filter_reservations(found, filters)


def get_instance(self: Any, instance_id: str) -> Instance:
    """Return an instance by its id."""
    if self.cloud.memory.unseen_since_s is not None:
        return _get_instance(self, instance_id)
    found: Instance | None = self.get_instance_by_id(instance_id)
    if found is None:
        raise InvalidInstanceIdError(instance_id)
    return found


class Place(NamedTuple):
    """Where an instance is: how many come before it, and its reservation."""

    rank: int
    reservation: Reservation
    instance: Instance


def _holding(backend: Any, wanted: Iterable[str]) -> list[Reservation]:
    """Return copies of the reservations that have wanted instances, without their others."""
    places = _places(backend)
    found: list[Reservation] = []
    last = None
    for place in sorted(places[each] for each in wanted if each in places):
        if place.reservation is not last:
            last = place.reservation
            found.append(_copy(last, []))
        found[-1].instances.append(place.instance)
    return found


def _places(backend: Any) -> dict[str, Place]:
    """Return where each instance is: looked up again when any has come; who lets one go calls :func:`lose_places`."""
    reservations: dict[str, Reservation] = backend.reservations
    last = next(reversed(reservations.values()), None)
    seen = (len(reservations), last and last.id, last and len(last.instances))
    known: tuple[Any, dict[str, Place]] | None = backend.__dict__.get("_known_places")
    if known is None or known[0] != seen:
        places: dict[str, Place] = {}
        for reservation in list(reservations.values()):
            for instance in reservation.instances:
                places[instance.id] = Place(len(places), reservation, instance)
        known = backend.__dict__["_known_places"] = (seen, places)
    return known[1]


def lose_places(backend: Any) -> None:
    """Forget where instances are, as some have gone."""
    backend.__dict__.pop("_known_places", None)


def _copy(reservation: Reservation, instances: list[Instance]) -> Reservation:
    copy = Reservation.__new__(Reservation)
    copy.__dict__.update(reservation.__dict__, instances=instances)
    return copy


class AnyOffering:
    """Offers every type of instance everywhere, as moto does in the end, after it has looked through all of them."""

    def matches_filters(self, _offering: Any, _filters: Any, _location_type: str) -> bool:
        """Say yes."""
        return True


def _one_of_each_place() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return one offering for each place that moto knows: it looks here for whether there is such a place."""
    return {
        kind: {
            region: list({each["Location"]: each for each in offered}.values()) for region, offered in places.items()
        }
        for kind, places in INSTANCE_TYPE_OFFERINGS.items()
    }


SWAPS: list[tuple[Any, str, Any]] = [
    (TaggedEC2Resource, "get_tags", get_tags),
    (moto_utils, "tag_filter_matches", tag_filter_matches),
    (InstanceBackend, "all_reservations", all_reservations),
    (InstanceBackend, "get_reservations_by_instance_ids", get_reservations_by_instance_ids),
    (InstanceBackend, "get_instance", get_instance),
    (moto_instances, "InstanceTypeOfferingBackend", AnyOffering),
    (moto_instances, "INSTANCE_TYPE_OFFERINGS", _one_of_each_place()),
]
