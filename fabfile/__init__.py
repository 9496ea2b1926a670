"""Headway: from a Git commit to a zero-downtime release on AWS, as Fabric tasks.

A project's ``fabfile.py`` says ``from headway import ns``, or picks tasks: ``from headway import test, release``.
What they read stands under ``headway`` in ``fabric.yml``; `plan.settings` has every name and default.
"""

from invoke.collection import Collection

from .bake import bake
from .build import build
from .history import history
from .lab import ns as lab
from .migrate import migrate
from .package import package
from .publish import apt, publish
from .release import release
from .release import stage_fleet as stage
from .rollback import rollback
from .status import status
from .test import test

__all__ = [
    "apt",
    "bake",
    "build",
    "history",
    "lab",
    "migrate",
    "ns",
    "package",
    "publish",
    "release",
    "rollback",
    "stage",
    "status",
    "test",
]

ns = Collection(build, test, package, publish, migrate, bake, stage, release, rollback, status, history, apt, lab)
