"""The shop's tasks: all of Headway's. `fab --list` shows them, fabric.yml sets them."""

from headway import ns

__all__ = ["ns"]
