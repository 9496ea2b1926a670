"""What serves, in one line."""

from __future__ import annotations

from collections import Counter

from .fleet import Facts


def what_serves(facts: Facts) -> str:
    """Say in one line which versions serve, and on how many instances."""
    serving = Counter(
        facts.version_of(i.image_id) or "?" for i in facts.instances.values() if facts.healthy_everywhere(i.id)
    )
    if not serving:
        return f"nothing serves in {facts.group.name}"
    counts = ", ".join(f"{version} on {count}" for version, count in sorted(serving.items()))
    return f"{facts.group.name} serves {counts}"
