"""How a task may end badly, each with its exit code: the one vocabulary of every room.

Every class is an :class:`invoke.exceptions.Exit`, so that ``fab`` prints the message alone and exits with the
code; anything else that escaped would reach a user as a traceback.
"""

from __future__ import annotations

from invoke.exceptions import Exit


class Refusal(Exit):
    """Refused before anything was touched (exit code 2).

    The message is one line that names the cause and the way out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, code=2)

    def __str__(self) -> str:
        return str(self.message)


class TooLate(Refusal):
    """Refused to put back what is past the point of no return (exit code 2): it can only be finished."""


class Superseded(Exit):
    """Not done, because a newer order took its place in line: that is no failure (exit code 0)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=0)

    def __str__(self) -> str:
        return str(self.message)


class Restored(Exit):
    """Failed, and everything is as it was before (exit code 3)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=3)

    def __str__(self) -> str:
        return str(self.message)


class NotRestored(Exit):
    """Failed, and a person has to look: not everything could be put back (exit code 4)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=4)

    def __str__(self) -> str:
        return str(self.message)


class Failed(Exit):
    """A command of the project or of a tool failed; its exit code becomes ours."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message, code=code)

    def __str__(self) -> str:
        return str(self.message)
