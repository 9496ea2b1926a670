"""Runs every mutant against its tests, two at a time: `scripts/test --mutants`.

A mutant is caught when a test fails. One that no test can even be run with proves nothing, and counts as survived.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .hook import VARIABLE
from .mutation import ROOT, Mutation
from .mutations import MUTATIONS

TIMEOUT_S = 120
AT_ONCE = 2
_FAILED = re.compile(r"^FAILED \S*?([\w.]+::\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    :param by: the test that caught it, or None.
    :param why: why it was not caught.
    """

    mutation: Mutation
    by: str | None
    why: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        return f"caught    {self.mutation.name}: {self.by}" if self.by else f"{self.why}  {self.mutation.name}"


def judge(mutation: Mutation, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Run a mutant against its tests.

    :param timeout_s: seconds until it counts as survived.
    """
    try:
        done = _pytest(mutation.tests, mutation.name, timeout_s)
    except subprocess.TimeoutExpired:
        return Verdict(mutation, None, f"SURVIVED (no end within {timeout_s:g} s)")
    found = _FAILED.search(done.stdout)
    if done.returncode == 1 and found:
        return Verdict(mutation, found[1])
    if done.returncode == 0:
        return Verdict(mutation, None, "SURVIVED")
    last = next(iter(reversed((done.stdout + done.stderr).strip().splitlines())), "")
    return Verdict(mutation, None, f"SURVIVED (the tests did not run: {last})")


def why_not_sound(mutations: Sequence[Mutation], timeout_s: float = 10 * TIMEOUT_S) -> str | None:
    """Return why the tests prove nothing, since one of them fails without any mutation; else None."""
    done = _pytest(sorted({test for each in mutations for test in each.tests}), None, timeout_s)
    return None if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-2000:]


def _pytest(tests: Sequence[str], mutation: str | None, timeout_s: float) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment.pop(VARIABLE, None)
    if mutation is not None:
        environment[VARIABLE] = mutation
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "--no-header", "-rf"]
    argv += ["-p", "tests.mutants.hook", "-p", "no:cacheprovider"]
    # Hypothesis takes longer to import than most mutants to be caught.
    argv += ["-p", "no:xdist", "-p", "no:hypothesispytest", *tests]
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def main(arguments: Sequence[str]) -> int:
    """Run all mutants, or those whose name or module has a word; returns 1 when one survived."""
    parser = argparse.ArgumentParser(prog="scripts/test --mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with such a word in their name or module")
    words = parser.parse_args(arguments).words
    chosen = [each for each in MUTATIONS if not words or any(w in f"{each.name} ({each.module})" for w in words)]
    if not chosen:
        print(f"no mutant is called {' or '.join(words)}")
        return 2
    if reason := why_not_sound(chosen):
        print(f"{reason}\nthese tests fail without any mutation: they prove nothing")
        return 2
    began_s = time.monotonic()
    caught = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for verdict in pool.map(judge, chosen):
            caught += verdict.by is not None
            print(verdict, flush=True)
    print(f"in {time.monotonic() - began_s:.0f} s")
    print(f"mutants: {caught} caught of {len(chosen)}")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
