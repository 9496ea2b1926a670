"""The door of every task: settings in, one-line errors out."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, overload

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from .casting import forgive
from .plan.outcome import Failed, Refusal
from .plan.wording import one_line

if TYPE_CHECKING:
    from .plan.settings import Settings


@overload
def stage(body: Callable[..., Any], /) -> Task[Any]: ...


@overload
def stage(
    *,
    help: dict[str, str] = ...,
    default: bool = ...,
    name: str = ...,
    optional: list[str] = ...,
    auto_shortflags: bool = ...,
) -> Callable[..., Task[Any]]: ...


def stage(*args: Any, **kwargs: Any) -> Any:
    """Make a task of a function, as ``invoke.task`` does, whose every failure is one line and an exit code.

    An :class:`~invoke.exceptions.Exit` passes as it is. AWS that did not answer is a refusal (exit code 2) as long as
    the task had asked it to change nothing. Anything else that a tool raises becomes exit code 1 and one line that
    names it; ``fab --debug`` shows the traceback.
    """
    if len(args) == 1 and callable(args[0]) and not kwargs:
        return task(_guarded(args[0]))

    def decorate(body: Callable[..., Any]) -> Any:
        return task(*args, **kwargs)(_guarded(body))

    return decorate


def settings_for(c: Context, env: str | None = None) -> Settings:
    """Read the settings of this run, for one env or for none.

    The environment's FABRIC_HEADWAY_… come first, then the env's own values, then what stands outside ``envs``.

    :raises Refusal: one line about the first that is wrong.
    """
    from .plan.reading import KEY, read_settings, why_misnamed
    from .tools.yaml_keys import why_twice

    files = (getattr(c.config, f"_{which}_path", None) for which in ("system", "user", "project", "runtime"))
    twice = (why_twice(Path(file), KEY) for file in files if file)
    if reason := why_misnamed(c.config.keys()) or next(filter(None, twice), None):
        raise Refusal(reason)
    return read_settings(_plain(c.config.get("headway", {})), env, os.environ)


def settings_for_env(c: Context, env: str | None) -> Settings:
    """Read the settings of the env that a task was given.

    :raises Refusal: it was given none.
    """
    if env is None:
        settings_for(c)  # what is wrong in the file is said first: envs may not even be a mapping
        envs = sorted((_plain(c.config.get("headway")) or {}).get("envs") or {})
        named = " or ".join(f"--env={each}" for each in envs) or "name one under headway.envs in fabric.yml"
        raise Refusal(f"which env? {named}")
    return settings_for(c, env)


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


STOPPING = {signal.SIGTERM: "terminated", signal.SIGHUP: "its terminal is gone"}


class Stopped(KeyboardInterrupt):
    """A signal to stop came, such as a CI server sends: it is met like Ctrl-C, so that everything is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


def _guarded(body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def run(c: Context, *args: Any, **kwargs: Any) -> Any:
        from .tools import aws

        before = aws.writes()
        try:
            with _stoppable():
                return body(c, *args, **kwargs)
        except Exit:
            raise
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Stopped) else signal.SIGINT
            raise Failed(f"{body.__name__}: {STOPPING.get(number, 'interrupted')}", code=128 + number) from error
        except Exception as error:
            import logging

            logging.getLogger(__name__).debug("task %s", body.__name__, exc_info=True)
            said = aws.explain(error)
            if said is not None and aws.writes() == before:
                raise Refusal(f"{body.__name__}: {said}") from error
            said = said or f"{type(error).__name__}: {one_line(error) or 'no message'}"
            raise Failed(f"{body.__name__}: {said}") from error

    return run


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let the stopping signals end the task the way Ctrl-C does, unless somebody has other plans with them."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(number)

    ours = [number for number in STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    with meeting(ours, stop):
        yield


@contextmanager
def meeting(numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Meet signals in our own way for a while; outside the main thread nobody sends us any."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers} if in_main else {}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _complain(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """Print Fabric's own complaints about configuration as one line, and everything else as ever."""
    from .show.config_error import line_for

    if isinstance(error, BrokenPipeError):  # `fab --list | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        sys.exit(128 + signal.SIGPIPE)
    line = line_for(error)
    if line is None:
        _traceback(kind, error, frames)
        return
    print(line, file=sys.stderr)
    sys.exit(2)  # the interpreter heeds this in an excepthook, and has no other way to another code than 1


forgive()
_traceback = sys.excepthook
sys.excepthook = _complain
