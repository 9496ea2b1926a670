"""`fab package publish`, run as a person runs them; then a real machine installs, upgrades, goes back and removes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.package import unpack_migrations
from fabfile.plan.outcome import Refusal
from fabfile.plan.repository import sources_text
from fabfile.plan.settings import Settings
from fabfile.tools import apt, gpg
from fabfile.tools.dpkg import read_deb
from tests.stages.project import Project
from tests.tools.apt_client import Client, client_on, network, served

pytestmark = pytest.mark.docker

SERVICE = "#!/bin/sh\ntrap 'exit 0' TERM\necho \"$0 $GREETING\" > /var/lib/trial/started\nwhile :; do sleep 0.1; done\n"
FILES = {"trial": "/usr/bin/trial", "assets": "/usr/share/trial/assets", "trial.conf": "/etc/trial/"}


class Packaged(Project):
    """A project with a service, migrations, an Apt repository in a folder, and a key to sign it."""

    def __init__(self, root: Path, home: Path) -> None:
        super().__init__(root)
        self.repository = root.parent / "repository"
        self.home = home
        self.write("trial.conf", "a=1\n")
        self.write("trial", SERVICE).chmod(0o755)
        self.write("assets/logo.txt", "logo\n")
        self.write("migrations/0001_one.sql", "-- +goose Up\nSELECT 1;\n")
        self.set()

    def set(self, **package: object) -> None:
        """Write the settings."""
        self.configure(
            build={
                "image": "debian:bookworm-slim",
                "command": "mkdir dist && cp -r trial trial.conf assets dist/ && date +%s%N > dist/moment",
            },
            database={},
            package={
                "maintainer": "Trial <trial@example.com>",
                "files": FILES,
                "conffiles": ["/etc/trial/trial.conf"],
                "service": {"command": "/usr/bin/trial now", "open_files": 4321},
                **package,
            },
            apt={"publish": str(self.repository), "gnupg_home": str(self.home)},
        )

    def release(self, tag: str) -> str:
        """Commit and tag what is there."""
        self.write("assets/version", tag)
        sha = self.commit()
        self.git("tag", tag)
        return sha

    def must(self, *words: str) -> str:
        """Run a `fab` that has to succeed."""
        ran = self.fab(*words)
        assert ran.code == 0, ran.output
        return ran.output

    def refused(self, *words: str) -> str:
        """Run a `fab` that has to be refused: in one line, and nothing was written to the repository."""
        before = self.published()
        ran = self.fab(*words)
        lines = [line for line in ran.output.splitlines() if not line.startswith(("build:", "docker:"))]
        assert (ran.code, len(lines)) == (2, 1), ran.output
        assert self.published() == before
        return lines[0]

    def deb(self, version: str) -> Path:
        """Return where the package of a version is."""
        return self.root / f"build/trial_{version}_all.deb"

    def published(self) -> dict[str, bytes]:
        """Return every file of the repository."""
        return {str(path): path.read_bytes() for path in self.repository.rglob("*") if path.is_file()}

    def settings(self, url: str | None = None) -> Settings:
        """Return the settings as the tasks have them."""
        place = {"publish": str(self.repository), "gnupg_home": str(self.home), "url": url}
        return Settings.model_validate({"name": "trial", "apt": place})


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with gpg.temporary_home() as folder:
        gpg.make_key(folder, "trial")
        yield folder


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Iterator[Packaged]:
    made = Packaged(tmp_path / "project", home)
    yield made
    made.stop()


def test_a_package_holds_the_artefacts_the_unit_the_migrations_and_what_it_is(
    project: Packaged, tmp_path: Path
) -> None:
    project.write("migrations/0002_drop.sql", "-- deploy: contract\n-- +goose Up\nSELECT 2;\n")
    project.write("migrations/0003_more.sql", "-- +goose Up\nSELECT 3;\n")
    sha = project.release("v1.4.0")
    output = project.must("package")
    deb = read_deb(project.deb("1.4.0"))
    assert f"{deb.path} (0.0 MB, sha256 {deb.sha256})" in output
    assert deb.fields["Headway-Commit"] == sha
    assert (deb.fields["Headway-Migration"], deb.fields["Headway-Contract-Floor"]) == ("3", "2")
    subprocess.run(["dpkg-deb", "--raw-extract", deb.path, tmp_path / "out"], check=True)
    out = tmp_path / "out"
    assert (out / "usr/bin/trial").stat().st_mode & 0o777 == 0o755
    assert (out / "usr/share/trial/assets/logo.txt").read_text() == "logo\n"
    assert (out / "etc/trial/trial.conf").read_text() == "a=1\n"
    assert json.loads((out / "usr/share/trial/headway.json").read_text()) == {
        "name": "trial",
        "version": "1.4.0",
        "commit": sha,
        "migration": 3,
        "contract_floor": 2,
    }
    migrations = sorted(path.name for path in (out / "usr/share/trial/migrations").iterdir())
    assert migrations == ["0001_one.sql", "0002_drop.sql", "0003_more.sql"]
    assert not (out / "moment").exists()
    for script in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", out / "DEBIAN" / script], check=True)


def test_a_commit_is_built_once_and_packaged_to_the_same_bytes(project: Packaged) -> None:
    project.release("v1.4.0")
    assert "build:" in project.must("package")
    first = project.deb("1.4.0").read_bytes()
    (project.root / "build/artefacts/trial").touch()
    assert "build:" not in project.must("package")
    assert project.deb("1.4.0").read_bytes() == first


def test_another_commit_is_never_packaged_with_the_artefacts_of_the_one_before(project: Packaged) -> None:
    project.release("v1.4.0")
    project.must("build")
    project.write("assets/logo.txt", "new logo\n")
    sha = project.commit()
    assert "build:" in project.must("package")
    version = f"1.4.0+1.g{sha[:7]}"
    holds = subprocess.run(["dpkg-deb", "--fsys-tarfile", project.deb(version)], check=True, capture_output=True).stdout
    assert b"new logo\n" in holds


def test_the_commit_is_packaged_not_the_working_tree(project: Packaged) -> None:
    project.release("v1.4.0")
    project.write("assets/logo.txt", "not committed\n")
    project.write("migrations/0002_two.sql", "-- +goose Up\nSELECT 2;\n")
    assert "without the changes that are not committed" in project.must("package")
    deb = read_deb(project.deb("1.4.0"))
    assert deb.fields["Headway-Migration"] == "1"
    holds = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb.path], check=True, capture_output=True).stdout
    assert b"not committed\n" not in holds


def test_a_version_may_be_given(project: Packaged) -> None:
    project.commit()
    assert "no tag such as v1.4.0" in project.refused("package")
    assert "did you mean 2.0.0~rc1?" in project.refused("package", "--version=v2.0.0-rc1")
    project.must("package", "--version=2.0.0~rc1")
    assert read_deb(project.deb("2.0.0~rc1")).version == "2.0.0~rc1"
    project.must("publish", "--version=2.0.0~rc1")


def test_settings_that_cannot_become_a_package_are_refused_before_anything_is_built(project: Packaged) -> None:
    project.set(maintainer="me")
    project.release("v1.4.0")
    assert "headway.package.maintainer" in project.refused("package")
    assert not (project.root / "build").exists()


def test_a_file_that_was_not_built_is_named(project: Packaged) -> None:
    project.set(files={"missing.jar": "/usr/lib/x.jar"}, conffiles=[])
    project.release("v1.4.0")
    assert "no 'missing.jar' in the build's output (there: assets, moment, trial, trial.conf)" in project.refused(
        "package"
    )


def test_publishing_needs_a_package_of_this_very_commit(project: Packaged) -> None:
    project.release("v1.4.0")
    assert "no such package; fab package makes it" in project.refused("publish")
    project.must("package")
    project.write("assets/logo.txt", "new\n")
    project.commit()
    project.git("tag", "--force", "v1.4.0")
    assert "fab package makes it anew" in project.refused("publish")


def test_without_a_key_nothing_is_written(project: Packaged) -> None:
    project.release("v1.4.0")
    project.must("package")
    project.home = project.home / "none"
    project.set()
    assert "is not a folder; fab apt.key makes a key there" in project.refused("publish")
    assert not project.repository.exists()


def test_every_version_is_kept_and_none_ever_changes(project: Packaged) -> None:
    project.release("v1.4.0")
    project.must("package", "publish")
    assert "the same bytes: nothing to do" in project.must("publish")
    project.release("v1.5.0-rc1")
    project.must("package", "publish")
    listed = [line.split()[0] for line in project.must("apt.list").splitlines()]
    assert listed == ["1.4.0", "1.5.0~rc1"]
    project.write("assets/logo.txt", "other bytes\n")
    project.commit()
    project.git("tag", "--force", "v1.4.0")
    project.must("package", "--version=1.4.0")
    assert "published with other bytes" in project.refused("publish", "--version=1.4.0")
    assert "published with other bytes" in project.refused("publish", f"--deb={project.deb('1.4.0')}")


def test_the_migrations_of_a_published_version_come_out_of_its_package(project: Packaged, tmp_path: Path) -> None:
    project.release("v1.4.0")
    project.must("package", "publish")
    folder = unpack_migrations(project.settings(), "1.4.0", tmp_path / "out")
    assert folder == tmp_path / "out"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0001_one.sql"]
    with pytest.raises(Refusal, match=r"trial 9\.9\.9 is not in the Apt repository"):
        unpack_migrations(project.settings(), "9.9.9", tmp_path / "none")


def test_a_key_is_made_for_a_first_try(project: Packaged) -> None:
    with gpg.temporary_home() as fresh:
        project.home = fresh
        project.set()
        output = project.must("apt.key")
        assert output == project.must("apt.key")
        assert output.startswith("headway.apt.key: ")
        assert len(output.split()[1]) == 40


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Packaged]:
    """Publish 1.4.0 and 1.5.0."""
    project = Packaged(tmp_path_factory.mktemp("two") / "project", home)
    for tag in ("v1.4.0", "v1.5.0"):
        project.release(tag)
        project.must("package", "publish")
    yield project
    project.stop()


@pytest.fixture(scope="module")
def lan(two_versions: Packaged) -> Iterator[tuple[str, str]]:
    """Make a network; yield its name, and the repository's sources as machines on it need them."""
    with network() as (name, address), served(two_versions.repository, address) as url:
        settings = two_versions.settings(url)
        yield name, sources_text(settings, apt.public_key(settings))


def install(machine: Client, version: str) -> None:
    machine.must("apt-get", "install", "-qy", "--allow-downgrades", f"trial={version}")
    assert machine.installed("trial") == f"ii {version}"
    assert machine.must("cat", "/usr/share/trial/assets/version") == f"v{version}"


def test_a_clean_container_installs_upgrades_goes_back_removes_and_purges(lan: tuple[str, str]) -> None:
    name, sources = lan
    with client_on(name) as machine:
        machine.use(sources)
        assert machine.update().code == 0
        install(machine, "1.4.0")
        user = machine.must("getent", "passwd", "trial").strip()
        assert user.endswith(":/var/lib/trial:/usr/sbin/nologin")
        wanted = "/etc/systemd/system/multi-user.target.wants/trial.service"
        assert machine.must("readlink", wanted).strip().endswith("/systemd/system/trial.service")
        machine.write("/etc/trial/trial.conf", "a=2\n")
        install(machine, "1.5.0")
        assert machine.must("cat", "/etc/trial/trial.conf") == "a=2\n"
        install(machine, "1.4.0")
        assert machine.must("getent", "passwd", "trial").strip() == user
        assert machine.must("dpkg", "--verify", "trial").split() == ["??5??????", "c", "/etc/trial/trial.conf"]
        machine.must("dpkg-reconfigure", "trial")
        machine.must("apt-get", "remove", "-qy", "trial")
        assert machine.run("test", "-e", "/usr/bin/trial").code == 1
        assert machine.must("cat", "/etc/trial/trial.conf") == "a=2\n"
        install(machine, "1.5.0")
        machine.write("/etc/trial/environment", "SECRET=1\n")
        machine.must("apt-get", "purge", "-qy", "trial")
        left = machine.must(
            "sh", "-c", "find / -xdev -name '*trial*' -not -path '/var/lib/apt/*' -not -path '/var/cache/*'"
        )
        assert left == ""


SYSTEMD = ["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--tmpfs=/run", "--tmpfs=/run/lock"]


@pytest.fixture
def instance(lan: tuple[str, str]) -> Iterator[Client]:
    """Start a machine that runs systemd, as the lab's instances do."""
    version = subprocess.check_output(["docker", "info", "--format", "{{.CgroupVersion}}"], text=True).strip()
    cgroups = ["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"] if version == "1" else []
    with client_on(lan[0], "headway/instance:12", *SYSTEMD, *cgroups) as machine:
        wait_for(machine, "running", "systemctl", "is-system-running")
        machine.use(lan[1])
        assert machine.update().code == 0
        yield machine


def wait_for(machine: Client, expected: str, *argv: str) -> None:
    until = time.monotonic() + 60
    while (last := machine.run(*argv).output.strip()) != expected:
        assert time.monotonic() < until, f"{' '.join(argv)}: {last!r}, not {expected!r}"
        time.sleep(0.1)


def shown(machine: Client, name: str) -> str:
    return machine.must("systemctl", "show", "--property", name, "--value", "trial").strip()


def test_on_a_machine_with_systemd_the_service_runs_as_its_user_and_stops_when_removed(instance: Client) -> None:
    instance.write("/etc/trial/environment", "GREETING=hello\n")
    install(instance, "1.4.0")
    assert shown(instance, "ActiveState") == "active"
    wait_for(instance, "/usr/bin/trial hello", "cat", "/var/lib/trial/started")
    pid = shown(instance, "MainPID")
    assert instance.must("stat", "-c", "%U", f"/proc/{pid}").strip() == "trial"
    assert "4321" in instance.must("grep", "open files", f"/proc/{pid}/limits")
    assert "NoNewPrivs:\t1" in instance.must("cat", f"/proc/{pid}/status")
    install(instance, "1.5.0")
    assert shown(instance, "ActiveState") == "active"
    assert shown(instance, "MainPID") != pid
    instance.must("kill", "-9", shown(instance, "MainPID"))
    wait_for(instance, "active", "systemctl", "is-active", "trial")
    instance.must("systemctl", "disable", "--now", "trial")
    install(instance, "1.4.0")
    assert shown(instance, "ActiveState") == "inactive"
    assert shown(instance, "UnitFileState") == "disabled"
    instance.must("systemctl", "enable", "--now", "trial")
    instance.must("apt-get", "remove", "-qy", "trial")
    assert instance.run("pgrep", "-u", "trial").output == ""
    install(instance, "1.4.0")
    assert shown(instance, "ActiveState") == "active"
    instance.must("apt-get", "purge", "-qy", "trial")
    assert instance.run("test", "-e", "/var/lib/trial").code == 1
    assert instance.run("systemctl", "--failed", "--quiet", "--plain").output == ""


def test_a_unit_is_what_systemd_understands(instance: Client) -> None:
    install(instance, "1.4.0")
    assert instance.run("systemd-analyze", "verify", "trial.service").output == ""


def test_where_a_policy_forbids_starting_it_is_enabled_and_not_started(instance: Client) -> None:
    instance.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
    instance.must("chmod", "+x", "/usr/sbin/policy-rc.d")
    install(instance, "1.4.0")
    assert shown(instance, "ActiveState") == "inactive"
    assert shown(instance, "UnitFileState") == "enabled"


def test_an_empty_repository_says_so(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.configure(apt={"publish": str(tmp_path / "apt")})
    ran = project.fab("apt.list")
    assert (ran.code, ran.output) == (0, f"nothing of {project.name} is published yet; fab package publish\n")
