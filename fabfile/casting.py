"""Fabric's own reading of variables, out of the way of ours.

Fabric makes of ``FABRIC_HEADWAY_RELEASE_POLL_S=0.5`` what stands in the file, and fails where that is ``1``, or a list.
What our variables mean is decided in `plan/variables.py`, for tasks of ours; so for keys of ours a failure is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import invoke.config
from invoke.env import Environment
from invoke.exceptions import UncastableEnvVar

OURS = "headway"


class Forgiving(Environment):
    """Variables as Fabric reads them, except that none of ours has to be of the same kind as in the file."""

    def _path_set(self, key_path: Sequence[str], value: str) -> None:
        if key_path[0] != OURS:
            super()._path_set(key_path, value)
            return
        with suppress(ValueError, UncastableEnvVar):
            super()._path_set(key_path, value)


def forgive() -> None:
    """Let Fabric read variables so; it offers no other way to take part."""
    invoke.config.Environment = Forgiving  # type: ignore[attr-defined]
