"""Describes that are behind: what was answered is remembered, and answered again.

What AWS says: EC2's and Auto Scaling's answers are eventually consistent, so that what was just done, or made, may not
be in them yet (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).

How it is done here: while :meth:`.Faults.stale` names an action, each answer of it is kept with the question (action
and parameters). A stale call gets what the same question was answered ``age_s`` ago: the youngest answer that is at
least that old, or else the oldest there is. A question that was never asked before gets an answer of now, except that
EC2 does not know yet what was launched in the last ``age_s`` seconds: InvalidInstanceID.NotFound, or missing in a list.
S3 is never stale: https://aws.amazon.com/s3/consistency/.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cloud import Cloud


class Memory:
    """What was answered to which question, and when."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._answers: dict[Hashable, list[tuple[float, Any]]] = {}
        self.unseen_since_s: float | None = None  # what EC2 has launched from here on it does not show now

    def recall(self, service: str, action: str, question: Callable[[], Hashable], ask: Callable[[], Any]) -> Any:
        """Answer a call: as it is, or as it was.

        :param question: gives what tells this question from others of its action; called only where it matters.
        :param ask: gives the answer of now; what it returns must not change later.
        """
        faults = self._cloud.faults
        kept_s = None if service == "s3" else faults.remembered_s(service, action)
        if kept_s is None:
            return ask()
        now_s = self._cloud.time_s()
        key = (service, action, question())
        earlier = self._answers.setdefault(key, [])
        age_s = faults.age_s(service, action, now_s)
        if age_s is None:
            answer = ask()
            self._keep(earlier, now_s, answer, kept_s)
            return answer
        if not earlier:
            return self._ask_of_then(now_s - age_s, ask)
        return next((answer for at_s, answer in reversed(earlier) if at_s <= now_s - age_s), earlier[0][1])

    def _ask_of_then(self, then_s: float, ask: Callable[[], Any]) -> Any:
        self.unseen_since_s = then_s
        try:
            return ask()
        finally:
            self.unseen_since_s = None

    @staticmethod
    def _keep(earlier: list[tuple[float, Any]], now_s: float, answer: Any, kept_s: float) -> None:
        earlier.append((now_s, answer))
        while len(earlier) > 1 and earlier[1][0] <= now_s - kept_s:
            del earlier[0]
