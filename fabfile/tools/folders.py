"""Folders on disk that change from one state to another as a whole."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path


def replace_folder(target: Path, fresh: Path) -> None:
    """Put a folder in another's place, whole: nobody finds a mixture, and two at once take turns.

    :param fresh: the new one, on any file system; it is moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        near, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
        for leftover in (near, old):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.move(fresh, near)  # a copy where the file system differs; the renames below are quick
        if target.exists():
            target.rename(old)
        near.rename(target)
        shutil.rmtree(old, ignore_errors=True)
