"""Folders on disk that change from one state to another as a whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_folder(target: Path, fresh: Path) -> None:
    """Put a folder in another's place, whole: nobody finds a mixture. Hold the parent's lock meanwhile.

    :param fresh: the new one, on any file system; it is moved.
    """
    near, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for leftover in (near, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.move(fresh, near)  # a copy where the file system differs; the renames below are quick
    if target.exists():
        target.rename(old)
    near.rename(target)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is missing; whoever else wants to hold it waits.

    The folder itself is locked, so that no lock file lies about; the kernel lets go when we end, however.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
