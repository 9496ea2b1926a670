"""Doing what was decided: each act becomes the calls that AWS needs, and what is learnt goes into the record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from ..plan import release as acts
from ..plan.fleet import LEAVING_TAG, RELEASE_TAG, STANDBY_TAG, Template
from ..plan.release import Act, Record
from ..tools import autoscaling, ec2

if TYPE_CHECKING:
    from ..plan.settings import Settings


@dataclass(frozen=True)
class Works:
    """What a release asks of other stages: to find or bake an image, and to migrate the database."""

    bake: Callable[[str], str]
    migrate: Callable[[str], None]


class NoCapacityError(Exception):
    """EC2 has no capacity for any of the instances that were asked for."""


def _launched(record: Record, ids: list[str]) -> Record:
    return replace(record, launched=tuple(dict.fromkeys((*record.launched, *ids))))


class Hands:
    """Carries acts out in one env. Every method returns the record as it is afterwards."""

    def __init__(self, settings: Settings, works: Works) -> None:
        self._settings = settings
        self._works = works
        self._blueprints: dict[Template, ec2.Blueprint] = {}

    @singledispatchmethod
    def do(self, act: Act, record: Record) -> Record:
        """Carry an act out."""
        raise TypeError(f"no hands for {act!r}")

    @do.register
    def _(self, act: acts.BakeImage, record: Record) -> Record:
        return replace(record, image_id=self._works.bake(act.version))

    @do.register
    def _(self, act: acts.PinTemplate, record: Record) -> Record:
        autoscaling.point_group(self._settings, act.template, mixed=act.mixed)
        return record

    @do.register
    def _(self, act: acts.WriteTemplateVersion, record: Record) -> Record:
        version = ec2.write_template_version(self._settings, act.source, act.image_id, act.token)
        return replace(record, template_version=version)

    @do.register
    def _(self, act: acts.LaunchInstances, record: Record) -> Record:
        tags = {**dict(act.tags), RELEASE_TAG: act.release}
        wanted = ec2.Wanted(self._blueprint(act.template), act.count, act.subnet, act.token, tags=tags, place=act.place)
        if act.mix is None:
            return _launched(record, ec2.run_instances(self._settings, wanted))
        ids, why_fewer = ec2.create_fleet(self._settings, wanted, mix=act.mix, spot=act.spot)
        if not ids:
            raise NoCapacityError(why_fewer)
        # What a fleet fell short of is asked for by another name: the same one would get the same answer.
        return replace(_launched(record, ids), short=record.short + bool(why_fewer))

    def _blueprint(self, template: Template) -> ec2.Blueprint:
        """Read what a template version says; once, as a version never changes."""
        if template not in self._blueprints:
            self._blueprints[template] = ec2.read_template(self._settings, template.id, template.version)
        return self._blueprints[template]

    @do.register
    def _(self, act: acts.Migrate, record: Record) -> Record:
        self._works.migrate(act.version)
        return replace(record, migrated=True)

    @do.register
    def _(self, act: acts.PrepareGroup, record: Record) -> Record:
        # Pausing comes first: as long as the room is missing, the whole act is done again.
        autoscaling.pause(self._settings, act.pause)
        autoscaling.set_size(self._settings, maximum=act.max)
        return record

    @do.register
    def _(self, act: acts.Protect, record: Record) -> Record:
        autoscaling.protect_instances(self._settings, act.ids, act.protected)
        return record

    @do.register
    def _(self, act: acts.Attach, record: Record) -> Record:
        autoscaling.attach_instances(self._settings, act.ids)
        return record

    @do.register
    def _(self, act: acts.PointGroup, record: Record) -> Record:
        autoscaling.point_group(self._settings, act.template, mixed=act.mixed)
        return record

    @do.register
    def _(self, act: acts.EnterStandby, record: Record) -> Record:
        # The tag comes first: an instance in Standby without it is somebody else's and is never touched.
        ec2.tag_resources(self._settings, act.ids, {STANDBY_TAG: act.release})
        autoscaling.enter_standby(self._settings, act.ids)
        return record

    @do.register
    def _(self, act: acts.ExitStandby, record: Record) -> Record:
        autoscaling.exit_standby(self._settings, act.ids)
        return record

    @do.register
    def _(self, act: acts.Detach, record: Record) -> Record:
        # The tag comes first: without it nobody would know whose it is once the group has let it go.
        ec2.tag_resources(self._settings, act.ids, {LEAVING_TAG: act.release})
        autoscaling.detach_instances(self._settings, act.ids)
        return record

    @do.register
    def _(self, act: acts.Retire, record: Record) -> Record:
        autoscaling.retire_instances(self._settings, act.ids, shrink=False)
        return record

    @do.register
    def _(self, act: acts.Drop, record: Record) -> Record:
        autoscaling.retire_instances(self._settings, act.ids, shrink=act.shrink)
        return record

    @do.register
    def _(self, act: acts.Terminate, record: Record) -> Record:
        ec2.terminate_instances(self._settings, act.ids)
        return record

    @do.register
    def _(self, act: acts.RestoreGroup, record: Record) -> Record:
        autoscaling.set_size(self._settings, maximum=act.max)
        autoscaling.resume(self._settings, act.resume)
        return record

    @do.register
    def _(self, act: acts.Resize, record: Record) -> Record:
        autoscaling.set_size(self._settings, desired=act.desired)
        return record

    @do.register
    def _(self, act: acts.Untag, record: Record) -> Record:
        ec2.untag_resources(self._settings, act.ids, (STANDBY_TAG,))
        return record
