"""The two fleets that share a group during a release: who is to stay, who is to leave, how many are needed."""

from __future__ import annotations

from dataclasses import dataclass

from .fleet import RESTING, Facts, Instance, Lifecycle, Template
from .ledger import COMMITTED, demand
from .release import Record


@dataclass(frozen=True)
class Side:
    """One of the two fleets that share the group: who stays, who leaves, and where autoscaling should point."""

    stay: tuple[Instance, ...]
    leave: tuple[Instance, ...]
    template: Template
    image_id: str
    forward: bool

    @property
    def active(self) -> tuple[Instance, ...]:
        """The staying instances that serve or are about to."""
        return tuple(i for i in self.stay if i.lifecycle not in RESTING)

    @property
    def outside(self) -> tuple[Instance, ...]:
        """The staying instances that the group does not have yet."""
        return tuple(i for i in self.stay if not i.in_group)


def is_committed(record: Record) -> bool:
    """Whether old instances were already let go, so that there is no way back but a rollback."""
    return record.mark(COMMITTED) is not None


def new_side(record: Record, facts: Facts) -> Side:
    """Return the fleet seen forward: the new instances stay."""
    new, old = _both_sides(record, facts, forward=True)
    template = Template(record.before.template.id, record.template_version or "")
    return Side(new, old, template, record.image_id or "", forward=True)


def old_side(record: Record, facts: Facts) -> Side:
    """Return the fleet seen on the way back: the old instances stay."""
    new, old = _both_sides(record, facts, forward=False)
    return Side(old, new, record.before.template, record.before.image_id, forward=False)


def _both_sides(record: Record, facts: Facts, *, forward: bool) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    # Released over itself, to make a mixed fleet one again: only what this release started is new.
    by_release = record.image_id == record.before.image_id
    new: list[Instance] = []
    old: list[Instance] = []
    for instance in sorted(facts.instances.values(), key=lambda i: i.id):
        foreign = instance.lifecycle is Lifecycle.STANDBY and instance.standby is None
        stray = not instance.in_group and record.id not in (instance.release, instance.leaving)
        if foreign or stray or not instance.alive:
            continue
        is_new = instance.release == record.id if by_release else instance.image_id == record.image_id
        if instance.leaving == record.id:  # let go already: whatever it is, it leaves
            is_new = not forward
        (new if is_new else old).append(instance)
    return tuple(new), tuple(old)


def is_settled(side: Side, record: Record) -> bool:
    """Whether the staying fleet is no longer ours to build or to judge.

    Forward that is so once old instances were let go; on the way back, when none of the new ones is in the group.
    """
    return is_committed(record) if side.forward else not any(i.in_group for i in side.leave)


def count_missing(side: Side, record: Record, facts: Facts) -> int:
    """Return how many instances the staying fleet lacks; negative when it has more than it needs."""
    return demand(record, facts) - len(side.active)
