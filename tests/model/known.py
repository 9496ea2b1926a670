"""Broken rules that are known and accepted, each with why. Anything else that is found is an error."""

from __future__ import annotations

KNOWN: tuple[tuple[str, str], ...] = ()


def is_known(rule: str) -> str | None:
    """Return why a broken rule is accepted; None when it is not."""
    return next((why for start, why in KNOWN if rule.startswith(start)), None)
