"""The stage publish: a package gets into our Apt repository, which keeps every version; and a look at it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context

from .package import package_path
from .plan.outcome import Refusal
from .stage import project_root, settings_for, stage

if TYPE_CHECKING:
    from .plan.settings import Settings

EXPIRES_SOON = timedelta(days=30)


@stage(
    help={
        "deb": "Package to publish (default: the one of the commit, in build/)",
        "version": "Version to publish from build/ (default: that of the commit)",
        "env": "Whose repository, where an env has its own (default: the one outside envs)",
    }
)
def publish(c: Context, deb: str | None = None, version: str | None = None, env: str | None = None) -> None:
    """Add the package to our Apt repository, signed."""
    root, settings = project_root(c), settings_for(c, env)
    publish_package(settings, Path(deb) if deb else _made_package(root, settings, version))


def publish_package(settings: Settings, deb: Path) -> None:
    """Add a package to the Apt repository, unless these very bytes are there.

    :raises Refusal: not a package, no key that can sign, or the version is there with other bytes.
    """
    from .tools import apt, gpg
    from .tools.dpkg import read_deb

    read = read_deb(deb)
    with gpg.signing_key(settings, datetime.now(UTC)) as key:
        if key.expires and key.expires - datetime.now(UTC) < EXPIRES_SOON:
            _say(f"publish: the signing key runs out on {key.expires:%Y-%m-%d}; gpg --quick-set-expire renews it")
        done = apt.publish(settings, read, key, lambda: datetime.now(UTC))
    what = f"{read.package} {read.version}"
    if done.already_there:
        _say(f"publish: {what} is in {settings.apt.publish} already, with the same bytes: nothing to do")
    else:
        _say(f"publish: {what} is in {settings.apt.publish} ({done.filename})")


def _made_package(root: Path, settings: Settings, version: str | None) -> Path:
    """Return the package in build/ that is of this commit."""
    from .plan.version import version_of, why_not_version
    from .tools import git
    from .tools.dpkg import read_deb

    described = git.describe(root)
    version = version or version_of(described)
    if reason := why_not_version(version):
        raise Refusal(reason)
    path = package_path(root, settings, version)
    commit = read_deb(path).fields.get("Headway-Commit", "")
    if commit != described.sha:
        raise Refusal(
            f"{path}: was made of commit {commit[:12]}, this is {described.sha[:12]}; fab package makes it anew"
        )
    return path


def _say(line: str) -> None:
    print(line, flush=True)


@stage(name="list", help={"env": "Whose repository, where an env has its own (default: the one outside envs)"})
def list_published(c: Context, env: str | None = None) -> None:
    """List the published versions, the newest last."""
    from .tools.apt import read_published

    settings = settings_for(c, env)
    found = read_published(settings, settings.name)
    if not found:
        print(f"nothing of {settings.name} is published yet; fab package publish", file=sys.stderr)
    for one in found:
        commit = (one.commit or "-")[:12]
        print(f"{one.version:<24} {commit:<12}  migration {one.migration:<6} {one.size_bytes / 1e6:8.1f} MB")


@stage(name="key")
def signing_key(c: Context) -> None:
    """Make a key for signing the Apt repository, unless there is one."""
    from .tools.gpg import make_key

    settings = settings_for(c)
    home = settings.apt.gnupg_home
    if home is None:
        raise Refusal("headway.apt.gnupg_home: not set; set it to a folder outside the repository, for the key alone")
    _say(f"headway.apt.key: {make_key(Path(home).expanduser(), settings.name)}")


apt = Collection("apt", list_published, signing_key)
