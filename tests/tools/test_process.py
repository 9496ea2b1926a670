"""Child processes: what they print, how they end, and that none outlives us."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fabfile.plan.outcome import Failed, Refusal
from fabfile.tools.process import TAIL_LINES, run

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_both_outputs_come_back_apart() -> None:
    finished = run(python("import sys; print('out'); print('err', file=sys.stderr)"))
    assert (finished.code, finished.stdout, finished.stderr) == (0, "out\n", "err\n")


def test_arguments_reach_the_program_as_they_are() -> None:
    given = ["a b", "$HOME", "'", '"', "; exit 3", "*", "ü", ""]
    assert run([*python("import sys; print(sys.argv[1:])"), *given]).stdout.strip() == repr(given)


def test_there_is_nothing_to_read_unless_it_is_given() -> None:
    echo = python("import sys; print(repr(sys.stdin.read()))")
    assert run(echo).stdout == "''\n"
    assert run(echo, stdin="text").stdout == "'text'\n"
    assert run(echo, stdin=b"bytes").stdout == "'bytes'\n"


def test_variables_are_added_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    finished = run(python("import os; print(os.environ['OURS'], os.environ['ADDED'])"), env={"ADDED": "2"})
    assert finished.stdout == "1 2\n"


def test_it_runs_in_the_folder_that_is_asked_for(tmp_path: Path) -> None:
    assert run(python("import os; print(os.getcwd())"), cwd=tmp_path).stdout.strip() == str(tmp_path)


def test_output_that_is_shown_goes_to_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    finished = run(python("print('seen')"), show=True)
    assert finished.stdout == ""
    assert capfd.readouterr().out == "seen\n"


def test_output_that_is_no_text_is_no_error() -> None:
    assert "�" in run(python(r"import sys; sys.stdout.buffer.write(b'\xff\n')")).stdout


def test_much_output_on_both_sides_does_not_block() -> None:
    code = "import sys; sys.stderr.write('e' * 300000); sys.stdout.write('o' * 300000)"
    finished = run(python(code), stdin="i" * 300000)
    assert (len(finished.stdout), len(finished.stderr)) == (300000, 300000)


def test_a_failure_has_the_exit_code_the_command_and_the_end_of_what_it_said() -> None:
    code = "import sys; [print(f'line {n}', file=sys.stderr) for n in range(100)]; sys.exit(7)"
    with pytest.raises(Failed) as caught:
        run(python(code))
    lines = str(caught.value).splitlines()
    assert caught.value.code == 7
    assert lines[0].startswith(f"{sys.executable} failed with exit code 7: ")
    assert lines[1:] == [f"  line {number}" for number in range(100 - TAIL_LINES, 100)]


def test_a_failure_with_nothing_on_stderr_shows_stdout() -> None:
    with pytest.raises(Failed, match="why it failed"):
        run(python("print('why it failed'); raise SystemExit(1)"))


def test_an_unchecked_failure_is_an_answer() -> None:
    assert run(python("raise SystemExit(9)"), check=False).code == 9


def test_a_command_ended_by_a_signal_is_a_failure_with_a_code_of_ours() -> None:
    with pytest.raises(Failed) as caught:
        run(python("import os; os.kill(os.getpid(), 9)"))
    assert caught.value.code == 1


def test_a_program_that_is_not_there_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refusal, match=r"no-such-program is not installed.*scripts/setup installs it"):
        run(["no-such-program", "--help"])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="gone: no such folder"):
        run(python(""), cwd=tmp_path / "gone")


def test_a_command_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(Failed, match=r"no end after 3 s"):
        run(python(code), timeout_s=3)
    assert not is_alive(int(note.read_text()))


def test_an_interrupt_reaches_the_command_and_waits_for_its_cleaning_up(tmp_path: Path) -> None:
    child = "\n".join(
        [
            "import os, time",
            "try:",
            f"    open({str(tmp_path / 'pid.new')!r}, 'w').write(str(os.getpid()))",
            f"    os.rename({str(tmp_path / 'pid.new')!r}, {str(tmp_path / 'pid')!r})",
            "    time.sleep(600)",
            "finally:",
            f"    open({str(tmp_path / 'cleaned')!r}, 'w')",
        ]
    )
    code = f"import sys; from fabfile.tools.process import run; run([sys.executable, '-c', {child!r}])"
    # A group of its own, as in no terminal: the signal reaches the child through us alone.
    with subprocess.Popen(
        python(code), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    ) as ours:
        deadline = time.monotonic() + PATIENCE_S
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ours.send_signal(2)
        ours.wait(PATIENCE_S)
    assert (tmp_path / "cleaned").exists()
    wait_until_gone(int((tmp_path / "pid").read_text()))
