"""Why a release failed: what the world said at the moment, put in order for a person who has to act on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from .fleet import Facts, Health, Instance, Lifecycle, Power
from .redaction import cleaned, one_clean_line
from .wording import counted

MOST_BLAMED = 3  # more of the same tells a person nothing
MOST_ACTIVITIES = 5


@dataclass(frozen=True)
class Activity:
    """Something that a group tried by itself and that did not succeed."""

    at: datetime
    status: str
    description: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """EC2's own word on an instance: why its state changed, and the status checks that it does not pass."""

    reason: str
    failing: tuple[str, ...]


@dataclass(frozen=True)
class Unit:
    """What systemd says of the service on an instance."""

    name: str
    load: str
    active: str
    sub: str
    result: str
    exit_code: int
    restarts: int

    @property
    def is_well(self) -> bool:
        """Whether it runs and never had to be started again."""
        return self.active == "active" and self.restarts == 0

    def __str__(self) -> str:
        if self.load == "not-found":
            return f"{self.name}: there is no such unit"
        if self.load == "masked":
            return f"{self.name}: masked"
        ended = f", its process ended with {self.exit_code}" if self.exit_code else ""
        again = f", started again {counted(self.restarts, 'time')}" if self.restarts else ""
        why = f", {self.result}" if self.result not in ("", "success") else ""
        return f"{self.name}: {self.active} ({self.sub}{why}){ended}{again}"


@dataclass(frozen=True)
class Standing:
    """What one load balancer says of an instance."""

    balancer: str
    health: Health
    reason: str = ""
    description: str = ""

    def __str__(self) -> str:
        detail = ": ".join(part for part in (self.reason, self.description) if part)
        return f"{self.balancer}: {self.health.value}{f' ({detail})' if detail else ''}"


@dataclass(frozen=True)
class Finding:
    """All that is known of one blamed instance.

    :param failed: the checks that it did not pass, each with the answer.
    :param hint: what the facts together suggest; empty where they suggest nothing.
    :param unread: what could not be read of it, and why.
    """

    instance_id: str
    zone: str
    version: str
    state: str
    failed: tuple[str, ...] = ()
    standings: tuple[Standing, ...] = ()
    unit: Unit | None = None
    journal: tuple[str, ...] = ()
    console: tuple[str, ...] = ()
    hint: str = ""
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Everything that was found about a failure. No line of it holds a password that could be told as one.

    :param cause: the reason in one line, with what explains it best.
    :param others: how many more instances were blamed.
    :param activities: what the group failed at by itself, newest first, repeats folded.
    :param unread: what could not be read, and why.
    """

    cause: str
    findings: tuple[Finding, ...] = ()
    others: int = 0
    activities: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it as lines, the cause first: what a screen shows and history keeps."""
        return (self.cause, *_all_lines(self))


def blame(facts: Facts, blamed: Sequence[str]) -> tuple[str, ...]:
    """Choose the instances to look at, three at most: one for each way of failing before two that fail alike.

    :param blamed: ids that the decision named; where it named none, those that visibly fail.
    """
    named = tuple(dict.fromkeys(blamed)) or tuple(sorted(i.id for i in facts.instances.values() if _fails(i, facts)))
    seen: set[object] = set()
    first: list[str] = []
    alike: list[str] = []
    for instance_id in named:
        symptom = _symptom(instance_id, facts)
        (alike if symptom in seen else first).append(instance_id)
        seen.add(symptom)
    return tuple((first + alike)[:MOST_BLAMED])


def _fails(instance: Instance, facts: Facts) -> bool:
    unhealthy = any(balancer.health_of(instance.id) is Health.UNHEALTHY for balancer in facts.balancers)
    return instance.alive and (unhealthy or (instance.checks_pass and instance.answers is False))


def _symptom(instance_id: str, facts: Facts) -> object:
    instance = facts.instances.get(instance_id)
    if instance is None:
        return None
    standings = tuple((each.health, each.reason) for each in _standings(instance_id, facts))
    return instance.power, instance.checks_pass, instance.lifecycle, instance.answer, standings


def finding_of(instance_id: str, facts: Facts, answer: tuple[bool, str] | None, asked: str) -> Finding:
    """Say what the facts say of an instance.

    :param answer: what its health check answered when it was asked just now; None when it was not asked.
    :param asked: the health check in words, such as ``GET /health on port 8080``; empty where nobody asks it from here.
    """
    instance = facts.instances.get(instance_id)
    if instance is None:
        return Finding(instance_id, "", "", "EC2 does not list it any more")
    if asked and answer is None and instance.answers is not None:
        answer = instance.answers, instance.answer
    failed = []
    if instance.power is Power.RUNNING and not instance.checks_pass:
        failed.append("EC2 status checks: not passed")
    if answer is not None and not answer[0]:
        failed.append(one_clean_line(f"{asked}: {answer[1] or 'no answer'}"))
    if not instance.group_healthy:
        failed.append(f"{facts.group.name} holds it for unhealthy, and will replace it")
    standings = _standings(instance_id, facts)
    return Finding(
        instance_id=instance_id,
        zone=instance.zone,
        version=facts.version_of(instance.image_id) or "?",
        state=_state(instance, facts),
        failed=tuple(failed),
        standings=standings,
        hint=_hint(standings, answer, asked),
    )


def _standings(instance_id: str, facts: Facts) -> tuple[Standing, ...]:
    standings = []
    for balancer in facts.balancers:
        known = balancer.registrations.get(instance_id)
        if known is None:
            standings.append(Standing(balancer.name, Health.ABSENT))
        else:
            standings.append(Standing(balancer.name, known.health, known.reason, one_clean_line(known.description)))
    return tuple(standings)


def _state(instance: Instance, facts: Facts) -> str:
    if instance.lifecycle is Lifecycle.OUTSIDE:
        return f"{instance.power.value}, not in {facts.group.name}{' yet' if instance.alive else ''}"
    return f"{instance.power.value}, {instance.lifecycle.value} in {facts.group.name}"


def _hint(standings: Iterable[Standing], answer: tuple[bool, str] | None, asked: str) -> str:
    """Say what lies between, where we get an answer and a load balancer does not."""
    sick = [each.balancer for each in standings if each.health is Health.UNHEALTHY]
    if answer is None or not answer[0] or not sick:
        return ""
    return (
        f"{asked} answers 200 to us but not to {', '.join(sick)}: compare that check's path and port, "
        "and what the instance's security group lets in"
    )


def with_verdict(finding: Finding, verdict: Verdict) -> Finding:
    """Add EC2's own word: its reason for the state, and the status checks by name."""
    named = tuple(one_clean_line(line) for line in verdict.failing)
    failed = finding.failed
    if named:
        failed = (*named, *(line for line in failed if not line.startswith("EC2 status checks")))
    reason = one_clean_line(verdict.reason)
    return replace(finding, failed=failed, state=f"{finding.state}; EC2: {reason}" if reason else finding.state)


def tail(text: str | Iterable[str], lines: int) -> tuple[str, ...]:
    """Return the last lines that say something, without secrets and without what would move a terminal's cursor."""
    kept = [line for line in cleaned(text if isinstance(text, str) else "\n".join(text)) if line.strip()]
    return tuple(kept[-lines:])


def why_not_this_host(console: str, host_key: str) -> str | None:
    """Return why whoever answered SSH is not the instance, or None when it is, or its console does not tell.

    cloud-init prints a new instance's host keys on its console, which comes to us through EC2
    (https://cloudinit.readthedocs.io/en/latest/reference/modules.html#keys-to-console).
    """
    begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
    _, found, rest = console.rpartition(begin)
    keys, closed, _ = rest.partition(end)
    # A console wraps long lines, so that the key is looked for without the white space.
    if not found or not closed or host_key in "".join(keys.split()):
        return None
    return "who answers SSH at its address has none of the host keys that its console shows"


def fold(activities: Sequence[Activity]) -> tuple[str, ...]:
    """Say what a group failed at, newest first, each message once with how often it came."""
    folded: dict[str, list[Activity]] = {}
    for activity in activities:
        folded.setdefault(_nameless(activity.message or activity.description), []).append(activity)
    lines = []
    for same in list(folded.values())[:MOST_ACTIVITIES]:
        newest = same[0]
        often = f" ({len(same)} times since {same[-1].at:%H:%M:%S}Z)" if len(same) > 1 else ""
        # The description of one that failed repeats its message behind these words.
        described = newest.description.partition("Status Reason:")[0].strip()
        parts = [part for part in (described, newest.message) if part]
        lines.append(one_clean_line(f"{newest.at:%H:%M:%S}Z {newest.status}{often}: {' - '.join(parts)}"))
    more = len(folded) - MOST_ACTIVITIES
    return (*lines, *([f"and {more} more"] if more > 0 else []))


def _nameless(text: str) -> str:
    return re.sub(r"\bi-[0-9a-f]+\b", "i-", text)


def explain(reason: str, findings: Sequence[Finding], activities: Sequence[str]) -> str:
    """Put the cause in one line: the reason, and what of the evidence explains it best."""
    cause = one_clean_line(reason)
    sick = next((f for f in findings if f.unit is not None and not f.unit.is_well), None)
    if sick is not None:
        where = "" if sick.instance_id in cause else f" on {sick.instance_id}"
        return f"{cause}; {sick.unit}{where}"
    if not findings and activities:
        return f"{cause}; the group: {activities[0]}"
    return cause


def _all_lines(evidence: Evidence) -> Iterator[str]:
    told: dict[tuple[str, ...], str] = {}
    for finding in evidence.findings:
        yield from _lines_of(finding, told)
    if evidence.others:
        yield f"{counted(evidence.others, 'more instance')} blamed, not looked at"
    if evidence.activities:
        yield "the group's own failures:"
        yield from (f"  {line}" for line in evidence.activities)
    yield from (f"not read: {line}" for line in evidence.unread)


def _lines_of(finding: Finding, told: dict[tuple[str, ...], str]) -> Iterator[str]:
    version = f" {finding.version}" if finding.version else ""
    zone = f" in {finding.zone}" if finding.zone else ""
    yield f"{finding.instance_id}{version}{zone}: {finding.state}"
    yield from (f"  {line}" for line in finding.failed)
    yield from (f"  {standing}" for standing in finding.standings if standing.health is not Health.HEALTHY)
    if finding.unit is not None:
        yield f"  {finding.unit}"
    if finding.hint:
        yield f"  {finding.hint}"
    for name, lines in (("journal", finding.journal), ("console", finding.console)):
        if not lines:
            continue
        alike = told.setdefault((name, *map(_timeless, lines)), finding.instance_id)
        if alike != finding.instance_id:
            yield f"  {name}: says the same as that of {alike}"
            continue
        yield f"  {name}:"
        yield from (f"    {line}" for line in lines)
    yield from (f"  not read: {line}" for line in finding.unread)


def _timeless(line: str) -> str:
    """Take out what differs between two machines that fail alike: times, addresses, process ids."""
    return re.sub(r"[0-9a-fA-F:.+-]*\d[0-9a-fA-F:.+-]*", "#", line)
