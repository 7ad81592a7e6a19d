"""When an environment is made, reused, brought up to date, built again, or left alone."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import _environment
import pytest
from _environment import Environment, SetupError, assess, prepare
from _stamp import STAMP_NAME, Stamp, fingerprint


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    folder.mkdir()
    return folder


@pytest.fixture
def complete(venv: Path, monkeypatch: pytest.MonkeyPatch) -> Stamp:
    """A complete environment, as far as the stamp and its interpreter tell."""
    monkeypatch.setattr(Environment, "ask", lambda self, code: "1.0")
    stamp = Stamp("complete", "f" * 64, "here", str(venv), "3.11", ("dev",))
    stamp.write()
    return stamp


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the commands instead of running them; every program answers well."""
    recorded: list[list[str]] = []
    monkeypatch.setattr(_environment, "call", lambda command, *rest: recorded.append(list(command)) or 0)
    monkeypatch.setattr(Environment, "ask", lambda self, code: "1.0")
    return recorded


def options(venv: Path, **changes: object) -> argparse.Namespace:
    return argparse.Namespace(**{"venv": str(venv), "python": None, "pip_option": [], "dry_run": False, **changes})


def pip_commands(commands: list[list[str]]) -> list[list[str]]:
    return [command[4:] for command in commands if command[1:4] == ["-m", "pip", "install"]]


@pytest.mark.parametrize("exists", [True, False])
def test_nothing_there_is_created(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "venv"
    if exists:
        folder.mkdir()
    assert assess(folder, Stamp("complete", "", "", str(folder), ""))[0] == "create"


@pytest.mark.parametrize(
    ("change", "action", "reason"),
    [
        ({}, "reuse", "complete"),
        ({"extras": ()}, "reuse", "complete"),
        ({"python": ""}, "reuse", "complete"),
        ({"fingerprint": "e" * 64}, "update", "constraints.txt changed"),
        ({"root": "there"}, "update", "another copy"),
        ({"extras": ("dev", "onnx")}, "update", "onnx"),
        ({"python": "3.12"}, "rebuild", "Python 3.11, wanted is 3.12"),
    ],
)
def test_assess_compares_with_what_is_wanted(complete: Stamp, change: dict, action: str, reason: str) -> None:
    decided, why = assess(Path(complete.venv), replace(complete, **change))
    assert decided == action
    assert reason in why


def test_half_built_and_moved_environments_are_built_again(complete: Stamp, venv: Path, tmp_path: Path) -> None:
    replace(complete, state="building").write()
    assert assess(venv, complete) == ("rebuild", "it was left half-built")
    complete.write()
    moved = venv.rename(tmp_path / "moved")
    assert assess(moved, complete)[0] == "rebuild"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "complete"}', '{"extras": [], "unknown": 1}'])
def test_a_damaged_stamp_counts_as_half_built(venv: Path, content: str) -> None:
    (venv / STAMP_NAME).write_text(content, encoding="utf-8")
    found = Stamp.read(venv)
    assert found is not None
    assert found.state == "building"


def test_an_environment_whose_python_is_gone_is_built_again(venv: Path) -> None:
    stamp = Stamp("complete", "f" * 64, "here", str(venv), "3.11")
    stamp.write()
    assert assess(venv, stamp) == ("rebuild", "its Python or its packages are gone")


def test_a_folder_of_somebody_else_is_left_alone(venv: Path, commands: list[list[str]]) -> None:
    precious = venv / "precious.txt"
    precious.write_text("mine", encoding="utf-8")
    with pytest.raises(SetupError, match="did not make it.*--venv"):
        prepare(options(venv))
    assert precious.read_text(encoding="utf-8") == "mine"
    assert not commands


def test_prepare_installs_once_then_reuses(venv: Path, commands: list[list[str]]) -> None:
    prepare(options(venv, pip_option=["--proxy=http://proxy:1"]))
    assert commands[0][1:] == ["-m", "venv", str(venv)]
    assert pip_commands(commands) == [["--editable", ".", "--constraint", "constraints.txt", "--proxy=http://proxy:1"]]
    commands.clear()
    prepare(options(venv))
    assert commands == []


def test_extras_are_added_to_those_already_there(venv: Path, commands: list[list[str]]) -> None:
    prepare(options(venv), extras=("onnx",))
    prepare(options(venv), extras=("dev",))
    assert [command[1] for command in pip_commands(commands)] == [".[onnx]", ".[dev,onnx]"]
    assert sum(command[1:3] == ["-m", "venv"] for command in commands) == 1
    found = Stamp.read(venv)
    assert found is not None
    assert (found.state, found.extras) == ("complete", ("dev", "onnx"))


def test_a_failing_pip_leaves_a_half_built_environment(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_environment, "call", lambda command, *rest: int("pip" in command))
    with pytest.raises(SetupError, match="--proxy") as caught:
        prepare(options(venv))
    assert "3.10 to 3.13" in str(caught.value)
    found = Stamp.read(venv)
    assert found is not None
    assert found.state == "building"


def test_a_failing_update_can_be_tried_again(
    venv: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(options(venv))
    before = Stamp.read(venv)
    monkeypatch.setattr(_environment, "call", lambda command, *rest: 1)
    with pytest.raises(SetupError):
        prepare(options(venv), extras=("dev",))
    assert Stamp.read(venv) == before


def test_an_interrupted_update_is_built_again(
    venv: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> int:
        raise KeyboardInterrupt

    prepare(options(venv))
    monkeypatch.setattr(_environment, "call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(options(venv), extras=("dev",))
    assert assess(venv, Stamp("complete", fingerprint(), "", str(venv), ""))[0] == "rebuild"


def test_a_full_disk_is_reported_before_anything_is_installed(
    venv: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = argparse.Namespace(free=2**30)
    monkeypatch.setattr(_environment.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"Only 1\.0 GiB are free"):
        prepare(options(venv))
    assert not commands


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"version": [3, 9, 1]}, "3.9.1 .* is too old"),
        ({"bits": 32}, "32-bit"),
        ({"missing": ["ensurepip"]}, r"lacks the module\(s\) ensurepip.*apt install python3\.11-venv"),
    ],
)
def test_unsuitable_interpreters_are_named(
    venv: Path, found: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"version": [3, 11, 7], "bits": 64, "missing": [], **found})
    done = subprocess.CompletedProcess([], 0, stdout=answer, stderr="")
    monkeypatch.setattr(_environment.subprocess, "run", lambda *arguments, **keywords: done)
    with pytest.raises(SetupError, match=message):
        prepare(options(venv, python="python-of-mine"))


def test_a_missing_interpreter_is_named(venv: Path) -> None:
    with pytest.raises(SetupError, match="no-such-python.*--python=PATH"):
        prepare(options(venv, python="no-such-python"))


def test_fingerprint_follows_both_files_and_asks_for_a_complete_checkout(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"pyproject\.toml is missing"):
        fingerprint(tmp_path)
    seen = set()
    for project, pins in [("a", "b"), ("a2", "b"), ("a", "b2")]:
        (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
        (tmp_path / "constraints.txt").write_text(pins, encoding="utf-8")
        seen.add(fingerprint(tmp_path))
    assert len(seen) == 3


def test_programs_run_as_after_activation_and_the_user_has_the_last_word(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONHOME", "elsewhere")
    variables = Environment(venv).variables()
    assert variables["VIRTUAL_ENV"] == str(venv)
    assert variables["PATH"].startswith(str(Environment(venv).scripts))
    assert "PYTHONHOME" not in variables
    assert (variables["MLFLOW_DISABLE_TELEMETRY"], variables["OMP_WAIT_POLICY"]) == ("true", "PASSIVE")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert Environment(venv).variables()["OMP_WAIT_POLICY"] == "ACTIVE"
