"""Stories of machines that stop and are not gone: EC2 keeps them, and in Standby or outside a group nobody else acts.

A shutdown from within stops an instance by default
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_ChangingInstanceInitiatedShutdownBehavior.html), and what
is in Standby is not checked (https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html).
"""

from __future__ import annotations

import pytest

from fabfile.engine.operate import journal_of
from fabfile.plan.release import Ending

from .conftest import Operator
from .stories import assert_put_back, assert_serves, at_each_step, meanwhile, standing


def living(operator: Operator) -> set[str]:
    """Name every instance that EC2 keeps, stopped ones too."""
    pages = operator.cloud.client("ec2").get_paginator("describe_instances").paginate()
    return {
        raw["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for raw in reservation["Instances"]
        if raw["State"]["Name"] != "terminated"
    }


def stop_one(operator: Operator, which: str) -> None:
    """Stop one of the instances that a release started, or that it put in Standby."""
    record = journal_of(operator.settings).read()
    assert record is not None
    first = (record.launched if which == "launched" else record.rested)[0]
    operator.cloud.client("ec2").stop_instances(InstanceIds=[first])


def stop_once_warm(operator: Operator) -> None:
    """Stop the first new instance when it runs and the group does not have it yet."""
    pending = True

    def look() -> None:
        nonlocal pending
        record = journal_of(operator.settings).read() if pending else None
        if record is None or not record.launched:
            return
        answer = operator.cloud.client("ec2").describe_instances(InstanceIds=[record.launched[0]])
        if answer["Reservations"][0]["Instances"][0]["State"]["Name"] == "running":
            pending = False
            stop_one(operator, "launched")

    at_each_step(operator, look)


def test_a_new_instance_that_stops_before_it_serves_is_replaced_and_terminated(operator: Operator) -> None:
    before = standing(operator)
    stop_once_warm(operator)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    assert living(operator) == set(operator.world.members())


def test_a_new_instance_that_stopped_is_terminated_on_the_way_back_as_well(operator: Operator) -> None:
    before = standing(operator)
    stop_once_warm(operator)
    assert operator.release("3.0.0").ending is Ending.RESTORED
    assert_put_back(operator, before)
    assert living(operator) == set(operator.world.members())


def test_an_old_instance_that_stops_in_standby_does_not_stay_there(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing(operator)
    meanwhile(monkeypatch, "EnterStandby", lambda: stop_one(operator, "rested"))
    assert operator.release("2.0.0", soak_s=60).ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    assert living(operator) == set(operator.world.members())


def test_an_old_instance_that_stops_on_its_way_out_of_the_group_is_terminated(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing(operator)
    meanwhile(monkeypatch, "Detach", lambda: stop_one(operator, "rested"))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    assert living(operator) == set(operator.world.members())
