"""`fab build`, run as a person runs it, on real repositories and with real containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stages.project import Project, left_by, own_name

pytestmark = pytest.mark.docker

SLIM = "FROM debian:bookworm-slim\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "project", own_name())
    made.write("Dockerfile", SLIM)
    made.write("hello", "committed\n")
    made.configure(build={"command": "mkdir dist && cp hello dist/hello"})
    yield made
    made.stop()


def artefact(project: Project, name: str = "hello") -> str:
    return (project.root / "build/artefacts" / name).read_text()


def test_the_commit_is_built_not_the_working_tree_and_the_difference_is_told(project: Project) -> None:
    sha = project.commit()
    project.write("hello", "changed\n")
    ran = project.fab("build")
    assert ran.code == 0, ran.output
    assert artefact(project) == "committed\n"
    assert f"commit {sha[:12]}, without the changes that are not committed: hello" in ran.output
    assert left_by(ran.pid) == []


def test_an_earlier_commit_can_be_built(project: Project) -> None:
    project.commit()
    project.git("tag", "v1.0.0")
    project.write("hello", "second\n")
    project.commit()
    assert project.fab("build", "--commit=v1.0.0").code == 0
    assert artefact(project) == "committed\n"


def test_a_failing_command_shows_its_output_gives_its_exit_code_and_keeps_the_earlier_artefacts(
    project: Project,
) -> None:
    project.commit()
    assert project.fab("build").code == 0
    project.configure(build={"command": "echo out; echo err >&2; exit 37"})
    ran = project.fab("build")
    assert ran.code == 37
    assert "out\n" in ran.output
    assert "err\n" in ran.output
    assert "Traceback" not in ran.output
    assert artefact(project) == "committed\n"
    assert left_by(ran.pid) == []


def test_the_artefacts_are_replaced_as_a_whole(project: Project) -> None:
    project.commit()
    project.fab("build")
    project.configure(build={"command": "mkdir dist && touch dist/other"})
    assert project.fab("build").code == 0
    assert sorted(path.name for path in (project.root / "build").iterdir()) == ["artefacts", "artefacts.commit"]
    assert [path.name for path in (project.root / "build/artefacts").iterdir()] == ["other"]


def test_two_builds_of_a_commit_see_the_same_time(project: Project) -> None:
    project.configure(
        build={"command": "mkdir dist && echo $SOURCE_DATE_EPOCH > dist/hello && date -r hello +%s >> dist/hello"}
    )
    project.commit()
    assert project.fab("build").code == 0
    assert artefact(project) == "1704164645\n1704164645\n"


def test_modes_and_links_come_out_as_they_were_made(project: Project) -> None:
    project.configure(
        build={"command": "mkdir dist && cp hello dist/ && chmod 755 dist/hello && ln -s hello dist/link"}
    )
    project.commit()
    assert project.fab("build").code == 0
    assert (project.root / "build/artefacts/hello").stat().st_mode & 0o777 == 0o755
    assert (project.root / "build/artefacts/link").readlink() == Path("hello")


def test_an_image_whose_user_is_not_root_can_write_where_it_builds(project: Project) -> None:
    project.write("Dockerfile", f"{SLIM}RUN useradd --uid 4321 app\nUSER app\n")
    project.configure(build={"command": "mkdir dist && id -u > dist/hello && touch hello"})
    project.commit()
    ran = project.fab("build")
    assert ran.code == 0, ran.output
    assert artefact(project) == "4321\n"


def test_a_ready_image_is_used_where_one_is_set(project: Project) -> None:
    (project.root / "Dockerfile").unlink()
    project.configure(build={"image": "debian:bookworm-slim", "command": "mkdir dist && cp hello dist/"})
    project.commit()
    assert project.fab("build").code == 0
    assert artefact(project) == "committed\n"


def test_the_image_is_made_from_the_dockerfile_of_the_commit(project: Project) -> None:
    project.write("Dockerfile", f"{SLIM}COPY hello /from-image\n")
    project.configure(build={"command": "mkdir dist && cp /from-image dist/hello"})
    project.commit()
    assert project.fab("build").code == 0
    assert artefact(project) == "committed\n"
    project.write("hello", "second\n")
    project.commit()
    assert project.fab("build").code == 0
    assert artefact(project) == "second\n"


def test_a_dockerfile_that_fails_is_shown(project: Project) -> None:
    project.write("Dockerfile", f"{SLIM}RUN echo so it went; exit 3\n")
    project.commit()
    ran = project.fab("build")
    assert ran.code not in {0, 2}
    assert "so it went" in ran.output


@pytest.mark.parametrize(
    ("command", "said"), [("true", "left no folder /src/dist"), ("mkdir dist", "left nothing in /src/dist")]
)
def test_a_command_that_leaves_no_artefacts_fails_and_names_the_setting(
    project: Project, command: str, said: str
) -> None:
    project.configure(build={"command": command})
    project.commit()
    ran = project.fab("build")
    assert ran.code == 1
    assert f"headway.build.output: the command {said}" in ran.output
    assert left_by(ran.pid) == []


def refused(project: Project, *arguments: str, env: dict[str, str] | None = None) -> str:
    ran = project.fab("build", *arguments, env=env)
    assert ran.code == 2, ran.output
    assert "Traceback" not in ran.output
    assert not (project.root / "build").exists()
    assert left_by(ran.pid) == []
    return ran.output.splitlines()[-1]


def test_a_repository_without_a_commit_is_refused(project: Project) -> None:
    assert "git commit first" in refused(project)


def test_an_unknown_commit_is_refused_by_name(project: Project) -> None:
    project.commit()
    assert "'v9.9.9'" in refused(project, "--commit=v9.9.9")


def test_a_project_without_a_dockerfile_is_refused_with_both_ways_out(project: Project) -> None:
    (project.root / "Dockerfile").unlink()
    project.commit()
    said = refused(project)
    assert "headway.build.dockerfile" in said
    assert "headway.build.image" in said


@pytest.mark.parametrize("output", ["/etc", "../other"])
def test_an_output_outside_the_project_is_refused(project: Project, output: str) -> None:
    project.configure(build={"output": output})
    project.commit()
    assert f"headway.build.output: '{output}' must be a folder below the project's own" in refused(project)


def test_an_image_that_is_nowhere_is_refused(project: Project) -> None:
    project.configure(build={"image": "localhost:1/nowhere:1"})
    project.commit()
    assert "localhost:1/nowhere:1" in refused(project)


def test_a_docker_that_does_not_answer_is_refused_with_a_way_out(project: Project) -> None:
    project.commit()
    assert "start it" in refused(project, env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
