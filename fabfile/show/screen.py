"""A release as plain lines, each with its time: what a person follows, and what a CI log keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import singledispatch

from ..plan import release as acts
from ..plan.fleet import Facts
from ..plan.predict import is_known
from ..plan.release import Act, Wait
from ..plan.wording import counted

_log = logging.getLogger(__name__)


def quietly(write: Callable[[str], None]) -> Callable[[str], None]:
    """Return a way to write that never fails: a release does not end with the terminal, or with whoever reads it."""

    def attempt(text: str) -> None:
        try:
            write(text)
        except UnicodeEncodeError:
            with suppress(OSError, ValueError):
                write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError):
            _log.debug("not written: %s", text, exc_info=True)

    return attempt


class PlainScreen:
    """Prints a line when something happens, and one for each change in what is waited for."""

    def __init__(self, now: Callable[[], datetime], write: Callable[[str], None] = print, named: str = "") -> None:
        self._now = now
        self._write = quietly(write)
        self._named = f"{named}: " if named else ""
        self._last = ""

    def say(self, text: str) -> None:
        """Print one line with the time."""
        self._write(f"{self._now().astimezone():%H:%M:%S}  {self._named}{text}")

    def acting(self, act: Act, facts: Facts) -> None:
        """Say what is about to be done."""
        self._last = ""
        self.say(describe(act, facts))

    def waiting(self, wait: Wait, facts: Facts) -> None:
        """Say what is waited for, once for each state of it."""
        if wait.mark == "look" or wait.what == self._last:
            return
        self._last = wait.what
        limit = f" (at most until {wait.until.astimezone():%H:%M:%S})" if wait.until else ""
        self.say(f"waiting: {wait.what}{limit}")

    def failed(self, act: Act, reason: str, failures: int) -> None:
        """Say that a call failed and will be decided upon anew."""
        self.say(f"failed ({failures}): {type(act).__name__}: {reason}")

    def blind(self, reason: str) -> None:
        """Say that AWS did not answer and will be asked again."""
        self._last = ""
        self.say(f"no answer from AWS, asking again: {reason}")

    def turning_back(self, reason: str, facts: Facts, blamed: tuple[str, ...]) -> None:
        """Say that the release is being undone, and why."""
        self._last = ""
        self.say(f"putting back: {reason}")


@singledispatch
def describe(act: Act, facts: Facts) -> str:
    """Say in one line what an act does, in an operator's words."""
    raise TypeError(f"no words for {act!r}")


@describe.register
def _(act: acts.BakeImage, facts: Facts) -> str:
    return f"find or bake the AMI of {act.version}"


@describe.register
def _(act: acts.PinTemplate, facts: Facts) -> str:
    return f"pin {facts.group.name} to template version {act.template.version}, the one it uses"


@describe.register
def _(act: acts.WriteTemplateVersion, facts: Facts) -> str:
    return f"write a template version: {act.source.version} with {act.image_id}"


@describe.register
def _(act: acts.LaunchInstances, facts: Facts) -> str:
    return f"start {counted(act.count, 'instance')} of template version {act.template.version} in {act.zone}"


@describe.register
def _(act: acts.Migrate, facts: Facts) -> str:
    return f"migrate the database for {act.version}"


@describe.register
def _(act: acts.PrepareGroup, facts: Facts) -> str:
    paused = f", pause {', '.join(sorted(act.pause))}" if act.pause else ""
    return f"make room in {facts.group.name}: maximum {facts.group.max} to {act.max}{paused}"


@describe.register
def _(act: acts.Protect, facts: Facts) -> str:
    verb = "shield" if act.protected else "stop shielding"
    return f"{verb} {counted(len(act.ids), 'instance')} from scale-in"


@describe.register
def _(act: acts.Attach, facts: Facts) -> str:
    return f"attach {counted(len(act.ids), 'instance')}{_ids(act.ids)}"


@describe.register
def _(act: acts.PointGroup, facts: Facts) -> str:
    return f"point autoscaling at template version {act.template.version}"


@describe.register
def _(act: acts.EnterStandby, facts: Facts) -> str:
    return f"drain {counted(len(act.ids), 'instance')} into Standby{_ids(act.ids)}"


@describe.register
def _(act: acts.ExitStandby, facts: Facts) -> str:
    return f"bring {counted(len(act.ids), 'instance')} back from Standby{_ids(act.ids)}"


@describe.register
def _(act: acts.Detach, facts: Facts) -> str:
    return f"take {counted(len(act.ids), 'instance')} out of {facts.group.name}{_ids(act.ids)}"


@describe.register
def _(act: acts.Drop, facts: Facts) -> str:
    return f"drop {counted(len(act.ids), 'instance')} that never came into service{_ids(act.ids)}"


@describe.register
def _(act: acts.Retire, facts: Facts) -> str:
    return f"retire {counted(len(act.ids), 'instance')}{_ids(act.ids)}"


@describe.register
def _(act: acts.Terminate, facts: Facts) -> str:
    return f"terminate {counted(len(act.ids), 'instance')}{_ids(act.ids)}"


@describe.register
def _(act: acts.RestoreGroup, facts: Facts) -> str:
    parts = [] if act.max is None else [f"maximum {act.max}"]
    if act.resume:
        parts.append(f"resume {', '.join(sorted(act.resume))}")
    return f"put {facts.group.name} back: {', '.join(parts)}"


@describe.register
def _(act: acts.Resize, facts: Facts) -> str:
    return f"set {facts.group.name}'s desired capacity to what is there: {facts.group.desired} to {act.desired}"


@describe.register
def _(act: acts.Untag, facts: Facts) -> str:
    return f"forget that {counted(len(act.ids), 'instance')} in service were in Standby{_ids(act.ids)}"


def _ids(ids: tuple[str, ...]) -> str:
    """Name the first few, as far as AWS has named them."""
    known = [instance_id for instance_id in ids if is_known(instance_id)]
    if not known:
        return ""
    more = f" and {len(ids) - 4} more" if len(ids) > 4 else ""
    return f": {' '.join(known[:4])}{more}"
