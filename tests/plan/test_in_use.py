"""Target groups that send a group nothing are found before anything is touched.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
"""

from __future__ import annotations

from dataclasses import replace

from fabfile.plan.begin import begin
from fabfile.plan.fleet import Balancer, Facts, Health, Lifecycle, Registration
from fabfile.plan.in_use import why_not_in_use
from fabfile.plan.release import Kind, Refuse

from .fleets import facts, old

HEALTHY = Registration(Health.HEALTHY)
IDLE = Registration(Health.UNUSED, "Target.NotInUse")


def also(look: Facts, registrations: dict[str, Registration]) -> Facts:
    """Register the group's instances with one more target group, which says this of them."""
    return replace(look, balancers=(*look.balancers, Balancer("idle", "target group", registrations)))


def test_a_target_group_that_no_load_balancer_uses_is_named_with_the_way_out() -> None:
    look = also(facts(old(1), old(2)), {"i-old1": IDLE, "i-old2": IDLE})
    reason = why_not_in_use(look)
    assert reason is not None
    assert "target group idle sends shop-prod nothing" in reason
    assert "have a listener forward to it" in reason
    assert "detach-load-balancer-target-groups --auto-scaling-group-name shop-prod" in reason


def test_a_release_is_refused_before_anything_is_touched() -> None:
    look = also(facts(old(1), old(2)), {"i-old1": IDLE, "i-old2": IDLE})
    begun = begin(Kind.RELEASE, "2.0.0", look, release_id="r1", env="prod", who="ann")
    assert begun == Refuse(why_not_in_use(look) or "")


def test_a_zone_of_the_group_that_is_not_enabled_is_named() -> None:
    look = also(facts(old(1), old(2), old(4)), {"i-old1": IDLE, "i-old2": HEALTHY, "i-old4": HEALTHY})
    reason = why_not_in_use(look)
    assert reason is not None
    assert "idle sends nothing to b" in reason
    assert "enable b for its load balancer, or take subnet-b out of the group" in reason


def test_a_zone_that_the_group_has_left_is_no_matter() -> None:
    look = also(facts(old(1), old(2), subnets={"a": "subnet-a"}), {"i-old1": IDLE, "i-old2": HEALTHY})
    assert why_not_in_use(look) is None


def test_one_of_several_in_a_zone_says_nothing_of_the_zone() -> None:
    look = also(facts(old(1), old(2), old(3)), {"i-old1": IDLE, "i-old2": HEALTHY, "i-old3": HEALTHY})
    assert why_not_in_use(look) is None


def test_who_is_unused_for_another_reason_or_not_registered_yet_does_not_count() -> None:
    stopped = Registration(Health.UNUSED, "Target.InvalidState")
    assert why_not_in_use(also(facts(old(1)), {"i-old1": stopped})) is None
    assert why_not_in_use(also(facts(old(1)), {})) is None


def test_a_group_without_instances_in_service_cannot_tell() -> None:
    resting = old(1, lifecycle=Lifecycle.STANDBY)
    assert why_not_in_use(also(facts(resting), {"i-old1": IDLE})) is None
    assert why_not_in_use(also(facts(), {})) is None
