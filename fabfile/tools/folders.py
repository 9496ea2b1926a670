"""Folders on disk that change from one state to another as a whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_folder(target: Path, fresh: Path) -> None:
    """Put a folder in another's place, whole: nobody finds a mixture, and two at once take turns.

    :param fresh: the new one, on any file system; it is moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent):
        near, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
        for leftover in (near, old):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.move(fresh, near)  # a copy where the file system differs; the renames below are quick
        if target.exists():
            target.rename(old)
        near.rename(target)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder itself, so that no lock file lies about; the kernel lets go when we end, however."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
