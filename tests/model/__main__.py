"""Run as `python -m tests.model`; what it does is in :mod:`.run`, which the other processes can import."""

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main())
