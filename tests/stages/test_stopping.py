"""A signal to stop is met softly, even by a process whose terminal is gone."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from fabfile.stage import Stopped
from fabfile.stopping import stopping_softly


def fail(_text: str) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_dead_terminal_makes_no_failure_of_a_stop(number: signal.Signals) -> None:
    with stopping_softly(fail) as stopping:
        os.kill(os.getpid(), number)
        assert stopping.asked()
        assert stopping.number is number
        with pytest.raises(Stopped):
            os.kill(os.getpid(), number)
