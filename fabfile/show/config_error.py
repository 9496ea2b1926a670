"""Fabric's own complaints about configuration, which reach a user as tracebacks, as one line each.

They are raised before any task of ours runs, and name neither file nor key; the frames of the traceback know both.
"""

from __future__ import annotations

import traceback
from typing import Any

from invoke.config import AmbiguousMergeError
from invoke.exceptions import AmbiguousEnvVar, UncastableEnvVar, UnknownFileType


def line_for(error: BaseException) -> str | None:
    """Say in one line what Fabric found wrong in a configuration file or variable, or None for any other error."""
    frames = [
        (frame.f_globals.get("__name__", ""), frame.f_code.co_name, frame.f_locals)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    if isinstance(error, AmbiguousMergeError):
        path = ".".join(str(here["key"]) for _, name, here in frames if name == "merge_dicts" and "key" in here)
        return f"{path}: a mapping in one place and a plain value in another: {str(error).split('merge ', 1)[-1]}"
    if isinstance(error, AmbiguousEnvVar):
        return f"{error}: two settings that one environment variable would mean; rename one of them"
    if isinstance(error, UnknownFileType):
        return str(error)
    path = _found(frames, "invoke.config", "_load_file", "filepath")
    mark = getattr(error, "problem_mark", None)
    if path and mark is not None:
        return f"{path}, line {mark.line + 1}: not YAML: {getattr(error, 'problem', None) or 'cannot be read'}"
    if path and isinstance(error, AttributeError) and path.endswith((".yml", ".yaml", ".json")):
        return f"{path}: must be a mapping, such as headway: {{name: shop}}"
    if path and isinstance(error, ValueError | OSError | SyntaxError | AttributeError):
        return f"{path}: cannot be read: {error}"
    return _of_variable(error, frames)


def _of_variable(error: BaseException, frames: list[tuple[str, str, dict[str, Any]]]) -> str | None:
    variable = _found(frames, "invoke.env", "load", "real_var")
    if isinstance(error, UncastableEnvVar):
        return f"{variable}: a list stands in the file, which a variable cannot replace; write it there as text, a,b"
    if variable and isinstance(error, ValueError):
        return f"{variable}: must be of the same kind as in the file: {error}"
    keys = _found(frames, "invoke.env", "_to_env_var", "key_path")
    if keys and isinstance(error, TypeError):
        return f"{'.'.join(str(key) for key in keys)}: a key must be text: put it in quotes"
    return None


def _found(frames: list[tuple[str, str, dict[str, Any]]], module: str, function: str, name: str) -> Any:
    return next((here.get(name) for where, what, here in frames if where == module and what == function), None)
