"""What a mutation is: one small lie told to one module, and the tests that must not believe it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class MutationError(Exception):
    """The text that a mutation replaces is not there exactly once."""


@dataclass(frozen=True)
class Mutation:
    """A change that makes the engine wrong in one respect.

    :param name: what the engine does wrong with it, as the rest of a sentence that begins with "it".
    :param module: dotted name of the module that is changed.
    :param old: a part of its text that is there exactly once.
    :param new: what stands there instead.
    :param tests: pytest's names of files or tests, one of which must fail with it.
    """

    name: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where the module's text is."""
        return ROOT / f"{self.module.replace('.', '/')}.py"

    def mutated(self) -> str:
        """Return the module's text as it is with the mutation.

        :raises MutationError: the old text is not there exactly once.
        """
        text = self.path.read_text()
        if (count := text.count(self.old)) != 1:
            raise MutationError(f"{self.name}: {self.module} has {count} times: {self.old!r}")
        return text.replace(self.old, self.new)


def lies(module: str, tests: tuple[str, ...], *told: tuple[str, str, str]) -> tuple[Mutation, ...]:
    """Make the mutations of one module that the same tests catch.

    :param told: of each its name, the old text and the new one.
    """
    return tuple(Mutation(name, module, old, new, tests) for name, old, new in told)
