"""The door of every task: settings in, one-line errors out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from .plan.outcome import Failed

if TYPE_CHECKING:
    from .plan.settings import Settings


@overload
def stage(body: Callable[..., Any], /) -> Task[Any]: ...


@overload
def stage(*, help: dict[str, str] = ..., default: bool = ..., name: str = ...) -> Callable[..., Task[Any]]: ...


def stage(*args: Any, **kwargs: Any) -> Any:
    """Make a task of a function, as ``invoke.task`` does, whose every failure is one line and an exit code.

    An :class:`~invoke.exceptions.Exit` passes as it is; anything else that a tool raises becomes exit code 1 and one
    line that names it. ``FABRIC_DEBUG`` or ``fab --debug`` shows the traceback.
    """
    if len(args) == 1 and callable(args[0]) and not kwargs:
        return task(_guarded(args[0]))

    def decorate(body: Callable[..., Any]) -> Any:
        return task(*args, **kwargs)(_guarded(body))

    return decorate


def settings_for(c: Context, env: str | None = None) -> Settings:
    """Read the settings of this run, for one env or for none."""
    from .plan.settings import read_settings

    return read_settings(_plain(c.config.get("headway", {})), env)


def project_root(c: Context) -> Path:
    """Return the project's folder: the one that holds its ``fabfile.py``, from wherever ``fab`` was called."""
    found = getattr(c.config, "_project_prefix", None)
    folder = Path(found) if found else Path.cwd()
    return folder.parent if (folder / "__init__.py").is_file() else folder  # fabfile/ may be a package


def _plain(value: Any) -> Any:
    """Turn invoke's DataProxy into plain dicts."""
    if hasattr(value, "items"):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return value


def _guarded(body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def run(c: Context, *args: Any, **kwargs: Any) -> Any:
        try:
            return body(c, *args, **kwargs)
        except (Exit, KeyboardInterrupt):
            raise
        except Exception as error:
            import logging

            logging.getLogger(__name__).debug("task %s", body.__name__, exc_info=True)
            message = " ".join(str(error).split()) or "no message"
            raise Failed(f"{body.__name__}: {type(error).__name__}: {message}") from error

    return run
