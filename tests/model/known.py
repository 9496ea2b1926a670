"""Broken rules that are known, each with why it is. Anything else that is found is an error.

With one fault (an event of the environment, or a crash) little is accepted. With two, the arithmetic of the desired
capacity has cases that no look can tell apart: AWS says what the number is, and not whose wish it was.
"""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """A rule that may be broken, by how its words begin.

    :param faults: only where so many things went wrong, at least.
    :param story: only in this one.
    """

    rule: str
    faults: int
    why: str
    story: str = ""


CUT = (
    "a maximum that somebody lowers in the middle cuts the desired capacity, and a machine that dies within a call "
    "that a crash cut off leaves no trace: what autoscaling wished for beneath that cannot be known"
)
MEANWHILE = (
    "a group that replaces sick instances does so in the midst of the engine's calls, and may outlast its patience: "
    "what it terminates already no call shrinks it by, and whom it takes when it shrinks is its own choice"
)

KNOWN = (
    Known("Undone: the desired capacity", 0, MEANWHILE, "replaced when unhealthy"),
    Known("capacity:", 0, MEANWHILE, "replaced when unhealthy"),
    Known("Done: the desired capacity", 2, CUT),
    Known("Undone: the desired capacity", 2, CUT),
    Known("demand: EnterStandby", 2, CUT),
    Known("Done: 2 serve afterwards, 3", 2, CUT),
    Known("capacity: 1 serve, 2 should", 2, CUT),
)


def is_known(rule: str, faults: int, story: str) -> str | None:
    """Return why a broken rule is accepted; None when it is not."""
    for known in KNOWN:
        if faults >= known.faults and rule.startswith(known.rule) and known.story in ("", story):
            return known.why
    return None
