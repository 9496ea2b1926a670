"""Headway: from a Git commit to a zero-downtime release on AWS, as Fabric tasks.

A project's ``fabfile.py`` says ``from headway import ns``, or picks modules: ``from headway import test, release``.
"""

from invoke.collection import Collection

from .defaults import SKELETON

ns = Collection()
ns.configure({"headway": SKELETON})
