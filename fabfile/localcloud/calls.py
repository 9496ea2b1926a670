"""What a release asks of the simulated cloud, call by call: to be counted, and to be killed at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Hook = Callable[[str, dict[str, Any]], None]


def _nothing(_name: str, _arguments: dict[str, Any]) -> None:
    return None


class Calls(list[str]):
    """Names of the calls made so far, in order, such as ``ec2:RunInstances``; each once, however often it is tried.

    ``before`` and ``after`` are told of each call, its name and its arguments, and may raise: a BaseException that is
    no Exception is a client that dies before the call has had its effect, or after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: Hook = _nothing
        self.after: Hook = _nothing

    def begin(self, name: str, arguments: dict[str, Any]) -> None:
        """Note a call that is about to be made."""
        self.append(name)
        self.before(name, arguments)

    def end(self, name: str, arguments: dict[str, Any]) -> None:
        """Note that a call has been made, whatever came of it."""
        self.after(name, arguments)
