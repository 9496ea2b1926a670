"""The package as others get it: a wheel in a clean virtual environment, and an editable install, both complete."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = ("ansible", "packer", "templates")
PATIENCE_S = 180
Source = Path


def run(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def files_of(*folders: str) -> list[str]:
    """Name the files that belong to the project: those of Git, and new ones that it does not ignore."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders, cwd=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Copy the project, so that a build leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in files_of("fabfile", *DATA, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q")
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, source, cwd=folder)
    (built,) = folder.glob("headway-*.whl")
    return built


def clean_python(folder: Path) -> Path:
    """Make a virtual environment that has our requirements (by a path, not by another install) and not us."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    # Only what lies in that folder is found so: its .pth files, such as our own editable install's, are not read.
    (packages / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def in_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(clean_python(tmp_path_factory.mktemp("clean") / "venv"), str(wheel))


@pytest.fixture(scope="module")
def editable(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(
        clean_python(tmp_path_factory.mktemp("editable") / "venv"), "--no-build-isolation", "-e", str(source)
    )


def install(python: Path, *what: str) -> Path:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "-q")
    run(*pip, "--no-deps", "--no-index", *what, cwd=python.parent)
    return python


@pytest.fixture(params=["in_wheel", "editable"])
def python(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "fabfile.py").write_text("from headway import ns\n")
    return tmp_path


def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    expected = {f"headway/{name.removeprefix('fabfile/')}" for name in files_of("fabfile", *DATA)}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("headway-")}
    assert held == expected


def test_scripts_in_the_wheel_can_still_be_executed(wheel: Path) -> None:
    executable = {name for name in files_of(*DATA) if (ROOT / name).stat().st_mode & 0o100}
    assert executable
    with zipfile.ZipFile(wheel) as archive:
        modes = {name: archive.getinfo(f"headway/{name}").external_attr >> 16 for name in executable}
    assert {name for name, mode in modes.items() if not mode & 0o100} == set()


def test_templates_roles_and_packer_files_are_found(python: Path, project: Path) -> None:
    code = (
        "from headway.paths import data; import headway\n"
        f"for name in {DATA!r}:\n"
        "    print(*sorted(str(file.relative_to(data(name).parent)) for file in data(name).rglob('*')"
        " if file.is_file()), sep='\\n')"
    )
    found = [line for line in run(python, "-c", code, cwd=project).splitlines() if "__pycache__" not in line]
    assert sorted(found) == sorted(files_of(*DATA))


def test_it_is_the_install_that_is_imported(in_wheel: Path, editable: Path, source: Source, project: Path) -> None:
    where: Callable[[Path], Path] = lambda python: Path(  # noqa: E731
        run(python, "-c", "import headway; print(headway.__file__)", cwd=project).strip()
    )
    assert in_wheel.parent.parent in where(in_wheel).parents
    assert where(editable) == source / "fabfile" / "__init__.py"


def test_fab_lists_the_tasks_and_reads_settings(python: Path, project: Path) -> None:
    program = "from fabric.main import program; program.run()"
    listed = run(python, "-c", program, "--list", cwd=project)
    for task in ("build", "test", "release", "rollback", "status", "lab.up"):
        assert f"  {task} " in listed
    refused = subprocess.run(
        [python, "-c", program, "status", "--env=dev"], cwd=project, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("headway.envs: no env 'dev'")
