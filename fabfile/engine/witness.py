"""Looks closely at what failed, before it is put away: a terminated instance tells nobody anything."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ..plan.evidence import (
    Activity,
    Evidence,
    Finding,
    Unit,
    Verdict,
    blame,
    explain,
    finding_of,
    fold,
    tail,
    why_not_this_host,
    with_verdict,
)
from ..plan.fleet import Facts, Power
from ..plan.redaction import one_clean_line
from ..tools import activities, aws, console, health, ssh

if TYPE_CHECKING:
    from ..plan.settings import Settings
    from .observe import Asker

WITHIN_S = 20.0
_SSH_WAIT_S = 5.0  # for each of: TCP, banner, authentication, one command

Jobs = Mapping[str, Callable[[], Any]]
Spread = Callable[[Jobs, float], dict[str, Any]]


class Witness:
    """Gathers evidence about one env's failures: it takes no longer than it may, changes nothing and never fails."""

    def __init__(
        self, settings: Settings, *, ask: Asker | None = None, spread: Spread | None = None, within_s: float = WITHIN_S
    ) -> None:
        """Prepare to look.

        :param ask: asks instances for their health; default: over HTTP, as the settings say.
        :param spread: does several jobs: :func:`at_once` by default, :func:`in_turn` where time is virtual.
        :param within_s: seconds for all of it together.
        """
        self._settings = settings
        self._ask = ask or self._ask_over_http
        self._spread = spread or at_once
        self._within_s = within_s

    def gather(self, facts: Facts, reason: str, blamed: tuple[str, ...], since: datetime) -> Evidence:
        """Look at the blamed instances and at what the group failed at; to be called while they are still there.

        :param reason: why it failed, in one line.
        :param blamed: ids of the instances that the decision blames; empty where it blames none.
        :param since: when the release began.
        :returns: what was found; what could not be read stands in it, with why.
        """
        try:
            return self._gather(facts, reason, blamed, since)
        except Exception as error:
            return Evidence(one_clean_line(reason), unread=(f"the evidence: {_why(error)}",))

    def _gather(self, facts: Facts, reason: str, blamed: tuple[str, ...], since: datetime) -> Evidence:
        chosen = blame(facts, blamed)
        began_s = time.monotonic()
        results = self._spread(self._questions(facts, chosen, since), self._within_s / 2)
        # Only then, for logging in leaves its own lines on the console.
        left_s = self._within_s - (time.monotonic() - began_s)
        results |= self._spread(self._logins(facts, chosen), left_s)
        unread: list[str] = []
        answers: dict[str, tuple[bool, str]] = self._part(results, "health checks", unread) or {}
        verdicts: dict[str, Verdict] = self._part(results, "status checks", unread) or {}
        failed: tuple[Activity, ...] = self._part(results, "scaling activities", unread) or ()
        findings = []
        for instance_id in chosen:
            finding = finding_of(instance_id, facts, answers.get(instance_id), self._asked_in_words())
            if instance_id in verdicts:
                finding = with_verdict(finding, verdicts[instance_id])
            findings.append(self._with_output(finding, facts, results))
        if self._settings.release.evidence.ssh_user is None and any(_runs(i, facts) for i in chosen):
            unread.append("journals: headway.release.evidence.ssh_user is not set, so nobody logs in")
        told = fold(failed)
        others = len(set(blamed) - set(chosen))
        return Evidence(explain(reason, findings, told), tuple(findings), others, told, tuple(unread))

    def _questions(self, facts: Facts, chosen: tuple[str, ...], since: datetime) -> Jobs:
        settings = self._settings
        running = {i: facts.instances[i].address for i in chosen if _runs(i, facts)}
        jobs: dict[str, Callable[[], Any]] = {"scaling activities": partial(activities.read_failed, settings, since)}
        if chosen:
            jobs["status checks"] = partial(console.read_verdicts, settings, chosen)
        if running and self._asked_in_words():
            jobs["health checks"] = partial(self._ask, running)
        for instance_id in chosen:
            jobs[f"console {instance_id}"] = partial(console.read_console, settings, instance_id)
        return jobs

    def _logins(self, facts: Facts, chosen: tuple[str, ...]) -> Jobs:
        if self._settings.release.evidence.ssh_user is None:
            return {}
        addresses = {i: facts.instances[i].address for i in chosen if _runs(i, facts)}
        return {f"journal {i}": partial(self._read_journal, address) for i, address in addresses.items()}

    def _part(self, results: Mapping[str, Any], name: str, unread: list[str], shown: str = "") -> Any:
        """Return what a job brought; where it failed, None and a line that says why."""
        if name not in results:
            return None
        if isinstance(results[name], Exception):
            unread.append(f"{shown or name}: {_why(results[name])}")
            return None
        return results[name]

    def _with_output(self, finding: Finding, facts: Facts, results: Mapping[str, Any]) -> Finding:
        """Add the tails of an instance's console and journal, or why there are none."""
        lines = self._settings.release.evidence.lines
        unread: list[str] = []
        printed: str | None = self._part(results, f"console {finding.instance_id}", unread, "console")
        if printed is not None and not printed.strip():
            unread.append("console: EC2 has nothing of it yet")
        read: tuple[Unit, tuple[str, ...], str] | None = self._part(
            results, f"journal {finding.instance_id}", unread, "journal"
        )
        if read is not None and (reason := why_not_this_host(printed or "", read[2])):
            unread.append(f"journal: {reason}")
            read = None
        if self._settings.release.evidence.ssh_user is not None and not _runs(finding.instance_id, facts):
            unread.append("journal: the instance does not run")
        unit, journal = (read[0], tail(read[1], lines)) if read else (None, ())
        if unit is not None and not journal:
            unread.append(f"journal: it has no line of {unit.name} since the boot that we may read")
        return replace(finding, unit=unit, journal=journal, console=tail(printed or "", lines), unread=tuple(unread))

    def _read_journal(self, address: str) -> tuple[Unit, tuple[str, ...], str]:
        settings = self._settings.release.evidence
        unit = settings.unit or f"{self._settings.name}.service"
        wait_s = min(_SSH_WAIT_S, self._within_s)
        with ssh.connection(address, settings.ssh_user or "", settings.ssh_key, wait_s) as c:
            return ssh.unit_state(c, unit), ssh.journal_tail(c, unit, settings.lines), ssh.host_key(c)

    def _asked_in_words(self) -> str:
        check = self._settings.release.health
        return f"GET {check.path} on port {check.port}" if check.via == "http" else ""

    def _ask_over_http(self, addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
        check = self._settings.release.health
        return health.ask_all(addresses, check.path, check.port, check.timeout_s)


def at_once(jobs: Jobs, within_s: float) -> dict[str, Any]:
    """Do jobs side by side; what is not done in time is left behind.

    :returns: for each job what it returned, or the error that it ended with.
    """
    done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    for name, job in jobs.items():
        # Not a pool: leaving one, or the interpreter, would wait for the last of its threads.
        threading.Thread(target=lambda n=name, j=job: done.put((n, _outcome(j))), daemon=True).start()
    give_up_at = time.monotonic() + within_s
    results: dict[str, Any] = {name: TimeoutError(f"not within {within_s:.1f} s") for name in jobs}
    for _ in jobs:
        try:
            name, outcome = done.get(timeout=max(0.0, give_up_at - time.monotonic()))
        except queue.Empty:
            break
        results[name] = outcome
    return results


def in_turn(jobs: Jobs, within_s: float) -> dict[str, Any]:
    """Do jobs one after another, as a simulated cloud has it: its time passes by itself, so there is none to bound."""
    del within_s
    return {name: _outcome(job) for name, job in jobs.items()}


def _outcome(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Exception as error:
        return error


def _runs(instance_id: str, facts: Facts) -> bool:
    instance = facts.instances.get(instance_id)
    return instance is not None and instance.power is Power.RUNNING and bool(instance.address)


def _why(error: Exception) -> str:
    said = aws.explain(error) or str(error) or type(error).__name__
    # EC2 adds a thousand letters for its own use to "you are not authorized".
    return one_clean_line(said.partition(" Encoded authorization failure")[0])
