"""What goes wrong in the local cloud, on purpose and repeatably."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Fault:
    """One thing that goes wrong: for this many times, or from one moment to another, or with a probability.

    :param times: how often it strikes; None for as long as it lasts.
    :param since_s: seconds of the cloud's life from which on it can strike.
    :param until_s: seconds of the cloud's life at which it is over; None for never.
    :param odds: probability of striking when it could.
    """

    times: int | None = None
    since_s: float = 0.0
    until_s: float | None = None
    odds: float = 1.0

    def strikes(self, now_s: float, dice: random.Random) -> bool:
        """Tell whether it strikes now, and count it."""
        if now_s < self.since_s or (self.until_s is not None and now_s >= self.until_s) or self.times == 0:
            return False
        if self.odds < 1.0 and dice.random() >= self.odds:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Faults:
    """All that is to go wrong. Machines that fail are scripted where machines are modelled.

    :param seed: what chance depends on: the same seed gives the same failures.
    """

    seed: int = 0
    throttled: dict[str, list[Fault]] = field(default_factory=dict)
    without_capacity: dict[str, list[Fault]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 - chance that repeats is the point

    def throttle(self, action: str, fault: Fault | None = None) -> None:
        """Answer an API action (``*`` for any) with a throttling error."""
        self.throttled.setdefault(action, []).append(fault or Fault(times=1))

    def refuse_capacity(self, zone: str = "*", fault: Fault | None = None) -> None:
        """Have no capacity for new instances in an Availability Zone (``*`` for any)."""
        self.without_capacity.setdefault(zone, []).append(fault or Fault(times=1))

    def throttles(self, action: str, now_s: float) -> bool:
        """Tell whether this call of an API action is throttled."""
        return self._strikes(self.throttled, action, now_s)

    def lacks_capacity(self, zone: str, now_s: float) -> bool:
        """Tell whether this launch in a zone finds no capacity."""
        return self._strikes(self.without_capacity, zone, now_s)

    def _strikes(self, faults: dict[str, list[Fault]], key: str, now_s: float) -> bool:
        if not faults:
            return False
        return any(fault.strikes(now_s, self._dice) for name in (key, "*") for fault in faults.get(name, ()))
