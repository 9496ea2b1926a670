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
