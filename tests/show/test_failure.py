"""What a tired operator reads."""

from __future__ import annotations

from fabfile.plan.evidence import Evidence, Finding
from fabfile.show.failure import render


def test_the_first_line_is_the_cause_and_the_last_is_what_to_type() -> None:
    finding = Finding("i-1", "eu-west-1a", "2.0.0", "running", failed=("GET /health on port 8080: 503",))
    shown = render(
        Evidence("i-1 was not ready", (finding,)),
        "shop-prod serves 1.0.0 on 3",
        ["fab status --env=prod", "fab release --env=prod --version=2.0.0"],
        "failed and put back",
    )
    assert shown.splitlines() == [
        "failed and put back: i-1 was not ready",
        "  i-1 2.0.0 in eu-west-1a: running",
        "    GET /health on port 8080: 503",
        "  now: shop-prod serves 1.0.0 on 3",
        "  next: fab status --env=prod",
        "    or: fab release --env=prod --version=2.0.0",
    ]


def test_a_failure_without_evidence_still_says_what_serves() -> None:
    assert render(Evidence("it failed"), "nothing serves", ()) == "it failed\n  now: nothing serves"


def test_lines_from_a_record_read_the_same() -> None:
    evidence = Evidence("it failed", activities=("no capacity",))
    assert render(evidence.lines, "nothing serves", ["fab status"]) == render(
        evidence, "nothing serves", ["fab status"]
    )
