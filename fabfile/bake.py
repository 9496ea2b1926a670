"""The stage that makes an AMI: a fresh base instance, updates, tuning, exactly one version of the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from invoke.context import Context

from .stage import project_root, settings_for, stage

if TYPE_CHECKING:
    from .plan.image import Content
    from .plan.settings import Settings
    from .tools.packer import Order


@stage(
    help={
        "env": "which env, as in headway.envs; default: the settings without an env's own",
        "version": "which published version; default: that of the commit",
        "force": "bake anew, even if an image of the same inputs exists",
    }
)
def bake(c: Context, env: str | None = None, version: str | None = None, force: bool = False) -> None:
    """Make an AMI of a published version, or find the one that is there."""
    from .plan.version import version_of
    from .tools.git import describe

    root = project_root(c)
    bake_version(settings_for(c, env), version or version_of(describe(root)), root=root, force=force)


def bake_version(settings: Settings, version: str, *, root: Path | None = None, force: bool = False) -> str:
    """Return the id of the AMI of a version, baked from what it is made of today; progress is printed.

    An image of the same inputs (package, base image, roles and templates, variables) is used again.

    :param root: the project's folder: roles and templates are named from there; default: the current folder.
    :param force: bake even so.
    :raises Refusal: it cannot be baked; nothing was started.
    :raises Failed: the bake failed; its builder is gone.
    """
    from .plan.image import choose_image, why_not_image
    from .plan.outcome import Failed
    from .tools.images import read_baked, read_image, require_imds_v2
    from .tools.packer import build

    content, order = _prepare(settings, version, (root or Path.cwd()).resolve())
    found = choose_image(read_baked(settings), content.inputs)
    if found and not force:
        _say(f"{settings.name} {version} is {found} already, made of the same inputs (--force bakes it anew)")
        return found
    _say(f"{settings.name} {version} from {content.base.name} ({content.base.id})")
    try:
        image_id = build(settings, order, _say)
    except Failed:
        # Somebody else may have baked the same meanwhile: an account has each image name once.
        found = None if force else choose_image(read_baked(settings), content.inputs)
        if found is None:
            raise
        _say(f"{settings.name} {version} is {found}, which was baked elsewhere meanwhile")
        return found
    require_imds_v2(settings, image_id)
    if reason := why_not_image(read_image(settings, image_id), content):
        raise Failed(f"bake: {image_id} is not what it should be: {reason}")
    _say(f"{settings.name} {version} is {image_id} ({order.name})")
    return image_id


def find_image(settings: Settings, version: str) -> str | None:
    """Return the id of the newest usable AMI that carries a version, or None."""
    from .plan.image import image_of_version
    from .tools.images import read_baked

    return image_of_version(read_baked(settings), settings.name, version)


def _prepare(settings: Settings, version: str, root: Path) -> tuple[Content, Order]:
    """Gather what the image is to be made of; everything that can be refused is refused here."""
    from .paths import data
    from .plan.image import Content, builder_tags, image_name, image_tags
    from .plan.outcome import Refusal
    from .plan.repository import repository_url
    from .tools.apt import find_published, public_key
    from .tools.images import read_base, read_names, read_place, why_not_reached
    from .tools.packer import TEMPLATE, Order, recipe_hash, why_not_installed

    if reason := why_not_installed() or why_not_reached(settings):
        raise Refusal(reason)
    url = repository_url(settings) or ""
    if not url.startswith(("http://", "https://")) or (urlsplit(url).hostname or "").startswith(("127.", "localhost")):
        raise Refusal("headway.apt.url: must be set to where instances read the Apt repository, over http or https")
    roles, templates = _own_files(settings, root)
    package = find_published(settings, settings.name, version)
    base = read_base(settings)
    if base is None:
        owners = ", ".join(settings.bake.source_owners)
        raise Refusal(f"headway.bake.source_name: no AMI of {owners} is called {settings.bake.source_name!r}")
    told = _variables(settings, version, url, public_key(settings))
    recipe = [data("packer") / TEMPLATE, data("ansible"), *roles, *templates]
    content = Content(
        project=settings.name,
        version=version,
        package_sha256=package.sha256,
        commit=package.commit,
        migration=package.migration,
        contract_floor=package.contract_floor,
        base=base,
        recipe_sha256=recipe_hash(recipe),
        variables={**told, "app_files": dict(settings.bake.files), "bake_roles": list(settings.bake.roles)},
    )
    files = zip(templates, settings.bake.files.values(), strict=True)
    there = [{"template": str(template), "path": path} for template, path in files]
    return content, Order(
        base=base,
        place=read_place(settings),
        name=image_name(content, read_names(settings, image_name(content, ()))),
        description=f"{settings.name} {version} on {base.name}",
        tags=image_tags(content),
        run_tags=builder_tags(content),
        variables={**told, "app_files": there, "bake_roles": [str(role) for role in roles]},
        packer=data("packer"),
        ansible=data("ansible"),
    )


def _variables(settings: Settings, version: str, url: str, key: str) -> dict[str, Any]:
    """Return what Ansible's roles are told, but for paths: the project's own variables first, so that ours win."""
    return {
        **settings.bake.variables,
        "app_name": settings.name,
        "app_version": version,
        "app_apt_url": url,
        "app_apt_suite": settings.apt.suite,
        "app_apt_component": settings.apt.component,
        "app_apt_key": key,
        "app_unit": f"{settings.name}.service" if settings.package.service else "",
    }


def _own_files(settings: Settings, root: Path) -> tuple[list[Path], list[Path]]:
    """Return the project's own roles and templates as paths.

    :raises Refusal: one is not there.
    """
    from .plan.outcome import Refusal

    roles = [root / role for role in settings.bake.roles]
    for name, role in zip(settings.bake.roles, roles, strict=True):
        if not (role / "tasks").is_dir():
            raise Refusal(f"headway.bake.roles: {name} is not the folder of an Ansible role in {root} (no tasks/)")
    templates = [root / template for template in settings.bake.files]
    for (name, path), template in zip(settings.bake.files.items(), templates, strict=True):
        if not template.is_file():
            raise Refusal(f"headway.bake.files: no template {name} in {root}")
        if not path.startswith("/") or path.endswith("/"):
            raise Refusal(f"headway.bake.files.{name}: must be a file's absolute path on the instance (got {path!r})")
    return roles, templates


def _say(line: str) -> None:
    print(f"bake: {line}", flush=True)
