"""The engine's own fixtures: a release over a simulated cloud, to compare the small one with."""

from tests.engine.conftest import cloud, operator

__all__ = ["cloud", "operator"]
