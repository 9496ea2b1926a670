"""A pytest plugin that has one module imported as a mutation makes it: `-p tests.mutants.hook`.

The environment names the mutation. No file changes, so that any number of mutants run at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from .mutation import Mutation
from .mutations import MUTATIONS

VARIABLE = "HEADWAY_MUTATION"


class MutantLoader(SourceFileLoader):
    """Loads a mutated module from memory: never from bytecode, and it leaves none."""

    def __init__(self, mutation: Mutation) -> None:
        super().__init__(mutation.module, str(mutation.path))
        self._text = mutation.mutated()

    def get_code(self, fullname: str) -> CodeType:
        """Compile the mutated text."""
        return compile(self._text, self.path, "exec", dont_inherit=True)


class MutantFinder(MetaPathFinder):
    """Finds the one module that is mutated; all others are left to Python."""

    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the mutated module's spec, or None for any other."""
        if fullname != self._mutation.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = MutantLoader(self._mutation)
        return spec


def install(mutation: Mutation) -> None:
    """Have a module imported as a mutation makes it, from now on."""
    if mutation.module in sys.modules:
        raise RuntimeError(f"{mutation.module} is imported already: it would not be mutated")
    sys.meta_path.insert(0, MutantFinder(mutation))


if name := os.environ.get(VARIABLE):
    install(next(each for each in MUTATIONS if each.name == name))
