"""What the two scripts run, seen from outside: through ``--dry-run``, and with a pip that cannot find anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import run_tests

TRAINING = "-m medssm_monai train mamba_mis"


def start(root: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=root.parent)


def shown(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The commands a dry run shows, without the interpreter's path."""
    assert done.returncode == 0, done.stderr
    lines = [line.partition("] $ ")[2] for line in done.stdout.splitlines() if "] $ " in line]
    return [line.partition(" ")[2] for line in lines]


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        ([], " --max_epochs 12 --output_dir quickstart --ckpt_dir quickstart/models"),
        (["--", "--dataset_dir", "images"], " --dataset_dir images"),
    ],
    ids=["demo", "own images"],
)
def test_quickstart_installs_and_trains(
    repository_root: Path, tmp_path: Path, words: list[str], overrides: str
) -> None:
    venv = tmp_path / "venv"
    done = start(repository_root, "quickstart.py", "--dry-run", "--venv", str(venv), *words)
    assert shown(done) == [
        f"-m venv {venv}",
        "-m pip install --editable . --constraint constraints.txt",
        f"{TRAINING}{overrides}",
    ]
    assert not venv.exists()
    lines = done.stdout.splitlines()
    after = lines[lines.index("[medssm-monai] What is next, from the repository's root:") + 2 :]
    commands = [line.partition("] ")[2].strip() for line in after]
    assert [command.split()[0] for command in commands] == ["medssm"] * 3


def test_setup_only_does_not_train(repository_root: Path, tmp_path: Path) -> None:
    done = start(repository_root, "quickstart.py", "--dry-run", "--setup-only", "--venv", str(tmp_path / "venv"))
    assert not any(command.startswith("-m medssm_monai") for command in shown(done))


@pytest.mark.parametrize(
    ("arguments", "extras", "pytest_command"),
    [
        (["--integration", "-x"], "dev,docs,onnx,viewer", "-m pytest -m integration -x"),
        (["-x", "-k", "scan", "tests/ops"], "dev", "-m pytest -x -k scan tests/ops"),
    ],
)
def test_run_tests_hands_its_arguments_on(
    repository_root: Path, tmp_path: Path, arguments: list[str], extras: str, pytest_command: str
) -> None:
    venv = str(tmp_path / "venv")
    pip_option = "--pip-option=--index-url=http://index"
    commands = shown(start(repository_root, "run_tests.py", "--dry-run", "--venv", venv, pip_option, *arguments))
    install = f"--editable '.[{extras}]' --constraint constraints.txt --index-url=http://index"
    assert install in commands[1].replace('"', "'")
    assert commands[2:] == [pytest_command]


def test_lint_and_types_run_before_the_whole_default_set(repository_root: Path, tmp_path: Path) -> None:
    commands = shown(start(repository_root, "run_tests.py", "--dry-run", "--venv", str(tmp_path / "venv")))
    assert commands[2:4] == ["-m ruff check .", "-m mypy"]
    assert commands[4].startswith("-m pytest")


def test_a_failing_step_is_named_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    class Stub:
        def run(self, *arguments: str) -> int:
            ran.append(arguments[1])
            return {"mypy": 3}.get(arguments[1], 0)

    monkeypatch.setattr(run_tests, "prepare", lambda options, extras: Stub())
    assert run_tests.main([]) == 3
    assert ran == ["ruff", "mypy", "pytest"] and "Failed: Types." in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to cores")
@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    ("words", "pytest_command", "of_two_cores"),
    [
        ([], "-m pytest", " -n 2 --dist worksteal"),
        (["--integration"], "-m pytest -m integration", " -n 3 --dist loadfile --no-loadscope-reorder"),
    ],
    ids=["default", "integration"],
)
def test_a_whole_set_takes_a_process_per_core(
    repository_root: Path, tmp_path: Path, words: list[str], pytest_command: str, of_two_cores: str, cores: int
) -> None:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < cores:
        pytest.skip(f"needs {cores} cores, this process may use {len(usable)}")
    command = [
        sys.executable,
        str(repository_root / "scripts" / "run_tests.py"),
        "--dry-run",
        "--venv",
        str(tmp_path),
        *words,
    ]
    bind = f"import os, runpy, sys; os.sched_setaffinity(0, {usable[:cores]}); sys.argv = sys.argv[1:]; "
    bound = [sys.executable, "-c", bind + "runpy.run_path(sys.argv[0], run_name='__main__')", *command[1:]]
    sys_path = {**os.environ, "PYTHONPATH": str(repository_root / "scripts")}
    done = subprocess.run(bound, capture_output=True, text=True, cwd=tmp_path, env=sys_path)
    assert shown(done)[-1] == pytest_command + (of_two_cores if cores == 2 else "")


@pytest.mark.parametrize("script", ["quickstart.py", "run_tests.py"])
def test_an_old_python_gets_one_clear_line(repository_root: Path, script: str) -> None:
    path = repository_root / "scripts" / script
    program = f"import runpy, sys; sys.version_info = (3, 8, 1); runpy.run_path({str(path)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs Python 3.10 or newer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["quickstart.py", "run_tests.py"])
def test_a_folder_in_use_is_one_clear_line(repository_root: Path, tmp_path: Path, script: str) -> None:
    (tmp_path / "precious.txt").touch()
    done = start(repository_root, script, "--venv", str(tmp_path))
    assert done.returncode == 1
    assert "ERROR" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "precious.txt").exists()


def test_a_pip_that_finds_nothing_is_explained_and_the_next_start_asks_it_again(
    repository_root: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    arguments = ["--setup-only", "--venv", str(venv), "--pip-option=--no-index"]
    done = start(repository_root, "quickstart.py", *arguments)
    assert done.returncode == 1
    assert "--pip-option=--proxy" in done.stderr
    assert "Traceback" not in done.stderr.rpartition("[medssm-monai] ERROR")[2]
    again = start(repository_root, "quickstart.py", *arguments, "--dry-run")
    assert "it is complete" not in again.stdout and "-m pip install --editable ." in again.stdout


@pytest.mark.skipif(os.name == "nt", reason="the CI script is for bash")
def test_the_ci_script_is_valid_and_runs_the_readme_command(repository_root: Path) -> None:
    script = repository_root / ".ci" / "run"
    subprocess.run(["bash", "-n", str(script)], check=True)
    command = "scripts/run_tests.py"
    for arguments in ('"$@"', "--integration"):
        assert f"{command} {arguments}" in script.read_text(encoding="utf-8")
    for line in (f"python {command}\n", f"python {command} --integration\n"):
        assert line in (repository_root / "README.md").read_text(encoding="utf-8")
