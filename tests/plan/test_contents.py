"""What a package holds: its control file, its metadata, and which settings cannot become one."""

from __future__ import annotations

import json

import pytest

from fabfile.plan.contents import Metadata, control_text, installed_kib, template_values, why_not_packaged
from fabfile.plan.settings import Settings

FILES = {"shop.pyz": "/usr/lib/shop/shop.pyz"}
METADATA = Metadata("shop", "1.4.0", "1a2b", migration=7, contract_floor=3)


def settings(**package: object) -> Settings:
    return Settings.model_validate({"name": "shop", "package": {"files": FILES, **package}})


def service(**values: object) -> Settings:
    return settings(service={"command": "/usr/bin/shop", **values})


def test_a_control_file_has_debians_fields_and_ours() -> None:
    text = control_text(settings(maintainer="A <a@b>", depends="python3,libc6 (>= 2.36)"), METADATA, 12)
    assert text == (
        "Package: shop\nVersion: 1.4.0\nArchitecture: all\nMaintainer: A <a@b>\nInstalled-Size: 12\n"
        "Depends: python3, libc6 (>= 2.36)\nSection: misc\nPriority: optional\n"
        "Description: A service released with Headway\n"
        "Headway-Commit: 1a2b\nHeadway-Migration: 7\nHeadway-Contract-Floor: 3\n"
    )
    assert "Depends" not in control_text(settings(), METADATA, 12)


def test_the_metadata_is_json() -> None:
    assert json.loads(METADATA.as_json()) == {
        "name": "shop",
        "version": "1.4.0",
        "commit": "1a2b",
        "migration": 7,
        "contract_floor": 3,
    }


def test_the_size_counts_whole_kib_and_folders() -> None:
    assert installed_kib([0, 1, 1024, 1025], folders=2) == 0 + 1 + 1 + 2 + 2


def test_a_service_runs_as_the_project_with_the_projects_environment() -> None:
    made = service()
    assert made.package.service
    values = template_values(made, made.package.service)
    assert (values["user"], values["environment_file"]) == ("shop", "/etc/shop/environment")


@pytest.mark.parametrize("made", [settings(), service(), service(user="www-data", environment_file="/etc/default/x")])
def test_good_settings_become_a_package(made: Settings) -> None:
    assert why_not_packaged(made) is None


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (settings(files={}), "headway.package.files: nothing to package"),
        (settings(files={"../x": "/x/y"}), "'../x' must be a path below"),
        (settings(files={"/x": "/x/y"}), "'/x' must be a path below"),
        (settings(files={"x": "usr/x"}), "headway.package.files.x: 'usr/x' must be an absolute path"),
        (settings(files={"x": "/usr/../../x"}), "must be an absolute path"),
        (settings(files={"x": "/"}), "must be an absolute path"),
        (settings(conffiles=["etc/x"]), "headway.package.conffiles: 'etc/x'"),
        (settings(maintainer="me"), "headway.package.maintainer: must be Name <address>"),
        (settings(description="a\nEssential: yes"), "headway.package.description: must be one line"),
        (settings(depends=["a\nEssential: yes"]), "headway.package.depends"),
        (settings(depends=["Python 3"]), "'Python 3' is not like python3, libc6 (>= 2.36)"),
        (settings(depends=["$(id)"]), "headway.package.depends: '$(id)'"),
        (settings(depends=["libc6 (> 2)"]), "headway.package.depends: 'libc6 (> 2)'"),
        (settings(depends=["a |"]), "headway.package.depends: 'a |'"),
        (settings(architecture="x86_64"), "headway.package.architecture: must be all, amd64"),
        (service(command="python3 x"), "headway.package.service.command"),
        (service(command="/bin/x\nUser=root"), "headway.package.service.command"),
        (service(user="Not A User"), "headway.package.service.user: 'Not A User'"),
        (service(environment_file="/etc/a b"), "headway.package.service.environment_file"),
        (
            Settings.model_validate({"name": "1up+", "package": {"files": FILES, "service": {"command": "/bin/x"}}}),
            "headway.package.service.user: '1up+' cannot be a user's name; set one",
        ),
    ],
)
def test_what_cannot_become_a_package_is_named_with_its_path(made: Settings, reason: str) -> None:
    assert reason in (why_not_packaged(made) or "")


@pytest.mark.parametrize(
    "relation", ["python3", "libc6 (>= 2.36)", "libc6(=2.36-9+deb12u1)", "python3:any", "default-mta | exim4 (<< 5~)"]
)
def test_whatever_apt_reads_may_be_depended_on(relation: str) -> None:
    assert why_not_packaged(settings(depends=[relation])) is None
