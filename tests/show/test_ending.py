"""What an operator reads when a release was stopped: only ways on that are open."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fabfile.engine.loop import Result
from fabfile.plan.fleet import Facts, Group, Template
from fabfile.plan.ledger import COMMITTED
from fabfile.plan.release import Before, Ending, Kind, Record
from fabfile.show.ending import render

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TEMPLATE = Template("lt-1", "7")
FACTS = Facts(
    at=NOW,
    group=Group("shop-prod", 1, 4, 2, TEMPLATE, "7", frozenset(), {}),
    instances={},
    balancers=(),
    images={},
    template_image="ami-1",
)
RECORD = Record(
    id="r1",
    env="prod",
    kind=Kind.RELEASE,
    version="2.0.0",
    from_version="1.0.0",
    who="ann",
    started_at=NOW,
    before=Before(1, 4, 2, frozenset(), TEMPLATE, "ami-1", ()),
    wanted=2,
)


@pytest.mark.parametrize(
    ("record", "way_back"),
    [
        (RECORD, "or put back with: fab release --env=prod --abort"),
        (
            replace(RECORD, marks=((COMMITTED, NOW),)),
            "old instances are gone already: to go back, let it end, then: fab rollback --env=prod",
        ),
    ],
)
def test_a_stopped_release_offers_only_the_way_back_that_is_open(record: Record, way_back: str) -> None:
    result = Result(Ending.STOPPED, "while it waited for 2 instances to terminate", record, FACTS)
    assert render("prod", [result], asked_to_undo=False).splitlines() == [
        "stopped while it waited for 2 instances to terminate",
        "  now: nothing serves in shop-prod",
        f"  the same command goes on; {way_back}",
    ]


def test_what_failed_past_the_point_of_no_return_is_not_offered_to_be_put_back() -> None:
    stuck = Result(Ending.NOT_RESTORED, "i-1 does not leave", replace(RECORD, marks=((COMMITTED, NOW),)), FACTS)
    said = render("prod", [stuck], asked_to_undo=False)
    assert said.splitlines() == [
        "failed and cannot be put back any more: i-1 does not leave",
        "  now: nothing serves in shop-prod",
        "  next: fab status --env=prod",
        "    or: fab release --env=prod --version=2.0.0 (goes on from here)",
    ]
    undone = replace(stuck, record=replace(RECORD, undo="sick"))
    assert "fab release --env=prod --abort (tries again to put back)" in render("prod", [undone], asked_to_undo=False)
