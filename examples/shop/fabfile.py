"""The shop's tasks: all of Headway's, and one of its own. fabric.yml has the settings."""

from headway import ns
from invoke import Context, task


@task
def clean(c: Context) -> None:
    """Remove what a build by hand leaves."""
    c.run("make clean")


ns.add_task(clean)
