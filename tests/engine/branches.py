"""Many endings of one story: at each point that is asked for, the story goes on in a child process as well.

A fork carries the whole simulated cloud over as it is at that moment, in the middle of a call if need be. So a point
costs what comes after it, and not what came before; and the engine that dies in a child is the very one that ran.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

# A child that takes longer, in seconds of a busy machine, goes in circles without time passing.
ENDLESS_S = 120


@dataclass
class Branches:
    """The children of one story, told one after another.

    :param point: in a child, what it was asked for; empty in the story itself.
    :param told: how many children there were.
    :param failures: what those said that failed, with their points.
    """

    point: str = ""
    told: int = 0
    failures: list[str] = field(default_factory=list)
    _pipe: int = -1

    def __post_init__(self) -> None:
        gc.collect()
        gc.freeze()  # what is there already need not be copied to be looked through in each child

    @property
    def is_child(self) -> bool:
        """Whether this is one of the children."""
        return bool(self.point)

    def branch(self, point: str) -> bool:
        """Return True in a child that goes on from here, and False in the story itself once the child has ended."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the other threads are pytest's, and not needed
            pid = os.fork()
        if pid == 0:
            os.close(reading)
            self.point, self._pipe = point, writing
            signal.alarm(ENDLESS_S)
            gc.disable()
            return True
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        self.told += 1
        if status != 0:
            said = said or f"ended with status {status}" + (": does not end" if status == signal.SIGALRM else "")
            self.failures.append(f"{point}: {said}")
        return False

    def tell(self, story: Callable[[], object], judge: Callable[[BaseException | None], list[str]]) -> None:
        """Tell a story; its children end with what a judge finds wrong, and come no further.

        :param judge: told what the story ended with, if it was not itself.
        """
        failure: BaseException | None = None
        try:
            story()
        except BaseException as error:
            failure = error
        if self.is_child:
            self.end(lambda: judge(failure))
        if failure is not None:
            raise failure

    def end(self, judge: Callable[[], list[str]]) -> None:
        """End a child with what a judge finds wrong; never returns."""
        said = "no judgement"
        try:
            said = "; ".join(judge())
        except BaseException:
            said = traceback.format_exc(limit=-4, chain=False)
        finally:
            with contextlib.suppress(OSError):
                os.write(self._pipe, said.encode()[:60_000])
            os._exit(1 if said else 0)

    def report(self, most: int = 5) -> str:
        """Say what failed; empty when nothing did."""
        more = len(self.failures) - most
        rest = [f"... and {more} more"] if more > 0 else []
        return "\n".join([*self.failures[:most], *rest])
