"""What goes wrong in the local cloud, on purpose and repeatably.

An action is named as its API names it, ``AttachInstances``; where several services have one of that name, or all
actions of a service are meant, with boto3's name of the service: ``elbv2:DescribeLoadBalancers``, ``s3:*``; ``*`` is
any action of any service. Each attempt counts: boto3 tries throttled calls and server errors again by itself.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum

from .errors import STATUSES, THROTTLING, why_not_documented

SERVER_ERROR = 500


@dataclass
class Fault:
    """One thing that goes wrong: for this many times, or from one moment to another, or with a probability.

    :param times: how often it strikes; None for as long as it lasts.
    :param since_s: seconds of the cloud's life from which on it can strike.
    :param until_s: seconds of the cloud's life at which it is over; None for never.
    :param odds: probability of striking when it could.
    :param skip: how often it lets pass what it could strike, before it strikes.
    """

    times: int | None = None
    since_s: float = 0.0
    until_s: float | None = None
    odds: float = 1.0
    skip: int = 0

    def strikes(self, now_s: float, dice: random.Random) -> bool:
        """Tell whether it strikes now, and count it."""
        if now_s < self.since_s or (self.until_s is not None and now_s >= self.until_s) or self.times == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.odds < 1.0 and dice.random() >= self.odds:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Lost(Enum):
    """What a client gets instead of an answer."""

    CONNECTION = "the connection is closed"
    SERVER_ERROR = "a server error"


@dataclass(frozen=True)
class Failure:
    """What a call is answered with instead of its answer.

    :param code: the error's code; empty where there is no answer at all but a closed connection.
    :param status: HTTP status.
    """

    code: str
    message: str
    status: int

    @property
    def is_silence(self) -> bool:
        """Whether the connection is closed without an answer."""
        return not self.code


@dataclass(frozen=True)
class Staleness:
    """Answers that are old: how old, and when."""

    age_s: float
    fault: Fault


@dataclass
class Faults:
    """All that is to go wrong. Machines that fail are scripted where machines are modelled.

    :param seed: what chance depends on: the same seed gives the same failures.
    """

    seed: int = 0
    throttled: dict[str, list[Fault]] = field(default_factory=dict)
    without_capacity: dict[str, list[Fault]] = field(default_factory=dict)
    failing: dict[str, list[tuple[Failure, Fault]]] = field(default_factory=dict)
    losing: dict[str, list[tuple[Failure, Fault]]] = field(default_factory=dict)
    staling: dict[str, list[Staleness]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 - chance that repeats is the point

    def throttle(self, action: str, fault: Fault | None = None) -> None:
        """Answer an API action with its service's throttling error."""
        self.throttled.setdefault(action, []).append(fault or Fault(times=1))

    def fail(
        self, action: str, code: str, message: str = "", fault: Fault | None = None, *, status: int | None = None
    ) -> None:
        """Answer an API action with an error, before it has any effect.

        :param fault: when; once, unless told otherwise.
        :param status: HTTP status; the one that AWS has for the code, unless told otherwise.
        :raises ValueError: the API reference names no such error for this action of Auto Scaling.
        """
        why_not = why_not_documented(action, code)
        if why_not:
            raise ValueError(why_not)
        failure = Failure(code, message or f"{code} of {action}, on purpose", status or STATUSES.get(code, 400))
        self.failing.setdefault(action, []).append((failure, fault or Fault(times=1)))

    def lose_answer(self, action: str, fault: Fault | None = None, how: Lost = Lost.CONNECTION) -> None:
        """Let an API action have its effect, and its client never hear of it.

        boto3 tries again by itself, up to its number of attempts: to let the caller know, lose as many answers.

        :param fault: when; once, unless told otherwise.
        """
        silence = Failure("", "Connection was closed before we received a valid response", 0)
        failure = silence if how is Lost.CONNECTION else Failure("InternalFailure", "Internal failure", SERVER_ERROR)
        self.losing.setdefault(action, []).append((failure, fault or Fault(times=1)))

    def stale(self, action: str, fault: Fault | None = None, *, age_s: float = 5.0) -> None:
        """Answer a describe with what was true some seconds ago; :mod:`.memory` says how.

        Answers are remembered from this call on: a fault that is added early has more to tell from.

        :param fault: when; always, unless told otherwise (``Fault(times=3)``, ``Fault(odds=0.3)``).
        :param age_s: how old the answer is.
        """
        self.staling.setdefault(action, []).append(Staleness(age_s, fault or Fault()))

    def refuse_capacity(self, zone: str = "*", fault: Fault | None = None) -> None:
        """Have no capacity for new instances in an Availability Zone (``*`` for any)."""
        self.without_capacity.setdefault(zone, []).append(fault or Fault(times=1))

    def before(self, service: str, action: str, now_s: float) -> Failure | None:
        """Tell what a call fails with before it has any effect; None when nothing strikes."""
        if not (self.throttled or self.failing):
            return None
        names = _names(service, action)
        if any(fault.strikes(now_s, self._dice) for name in names for fault in self.throttled.get(name, ())):
            code = THROTTLING.get(service, "Throttling")
            return Failure(code, "Rate exceeded", STATUSES.get(code, 400))
        return self._first(self.failing, names, now_s)

    def after(self, service: str, action: str, now_s: float) -> Failure | None:
        """Tell what becomes of the answer of a call that has had its effect; None when it arrives."""
        return self._first(self.losing, _names(service, action), now_s) if self.losing else None

    def remembered_s(self, service: str, action: str) -> float | None:
        """Tell for how many seconds answers of an action have to be remembered; None for not at all."""
        if not self.staling:
            return None
        ages = [each.age_s for name in _names(service, action) for each in self.staling.get(name, ())]
        return max(ages, default=None)

    def age_s(self, service: str, action: str, now_s: float) -> float | None:
        """Tell how old the answer of this call is; None when it is of now."""
        for name in _names(service, action):
            for each in self.staling.get(name, ()):
                if each.fault.strikes(now_s, self._dice):
                    return each.age_s
        return None

    def lacks_capacity(self, zone: str, now_s: float) -> bool:
        """Tell whether this launch in a zone finds no capacity."""
        if not self.without_capacity:
            return False
        return any(
            fault.strikes(now_s, self._dice) for name in (zone, "*") for fault in self.without_capacity.get(name, ())
        )

    def _first(
        self, faults: dict[str, list[tuple[Failure, Fault]]], names: tuple[str, ...], now_s: float
    ) -> Failure | None:
        for name in names:
            for failure, fault in faults.get(name, ()):
                if fault.strikes(now_s, self._dice):
                    return failure
        return None


def _names(service: str, action: str) -> tuple[str, ...]:
    return (action, f"{service}:{action}", f"{service}:*", "*")
