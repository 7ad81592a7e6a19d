"""The environment of the scripts: made, used again, completed, built again or left alone. ``venv`` is real; what is
installed is one module, and pip an empty one."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import _venv
import pytest
from _venv import NOTE, Environment, SetupError, build

SMOKE = "import package"


class Builder:
    """Builds the environment ``venv`` from ``pins``; ``installed`` notes the extras of each installation."""

    def __init__(self, folder: Path) -> None:
        self.venv, self.pins = folder / "venv", folder / "pins.txt"
        self.pins.write_text("package==1.0")
        self.installed: list[list[str]] = []

    @property
    def packages(self) -> Path:
        (found,) = [*self.venv.glob("lib/python*/site-packages"), *self.venv.glob("Lib/site-packages")]
        return found

    def install(self, environment: Environment, extras: Sequence[str]) -> None:
        self.installed.append(list(extras))
        if not environment.dry_run:
            (self.packages / "package.py").write_text("")

    def __call__(self, *extras: str, install: Callable | None = None, **changes: object) -> Environment:
        options = {"venv": str(self.venv), "python": None, "pip_option": [], "dry_run": False, **changes}
        return build(argparse.Namespace(**options), (self.pins,), install or self.install, SMOKE, extras)


@pytest.fixture(scope="module", autouse=True)
def quick_venv() -> Iterator[None]:
    """``python -m venv`` without its pip, which takes most of the time, and an empty module in its place."""
    run = Environment.run

    def quick(self: Environment, *arguments: str, **options: str) -> int:
        if arguments[:2] != ("-m", "venv"):
            return run(self, *arguments, **options)
        status = run(self, "-m", "venv", "--without-pip", *arguments[2:], **options)
        for packages in [*self.venv.glob("lib/python*/site-packages"), *self.venv.glob("Lib/site-packages")]:
            (packages / "pip.py").touch()
        return status

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "run", quick)
        patch.setattr(_venv, "NEEDED_GIB", 0)  # such an environment takes nothing
        yield


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """An environment that is made already; tests that use it leave it complete."""
    builder = Builder(tmp_path_factory.mktemp("made"))
    builder("dev")
    return builder


def test_nothing_there_is_made_and_used_again(made: Builder, capfd: pytest.CaptureFixture[str]) -> None:
    made.installed.clear()
    environment = made("dev")
    assert "it is complete" in capfd.readouterr().out and made.installed == []
    assert Path(environment.ask("import sys; print(sys.prefix)") or "").samefile(made.venv)
    assert made() == environment and made.installed == []  # fewer extras: nothing to do


def test_extras_are_added_to_those_already_there(made: Builder) -> None:
    made.installed.clear()
    made("onnx")
    made("dev")
    assert made.installed == [["dev", "onnx"]]


def test_other_pins_and_another_copy_of_the_repository_are_installed(
    made: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made.installed.clear()
    made.pins.write_text("package==2.0")
    made()
    made()
    assert len(made.installed) == 1
    monkeypatch.setattr(_venv, "ROOT", tmp_path)
    made()
    assert len(made.installed) == 2


def test_a_package_that_is_missing_is_installed_again(made: Builder, capfd: pytest.CaptureFixture[str]) -> None:
    made.installed.clear()
    (made.packages / "package.py").unlink()
    made()
    assert len(made.installed) == 1 and (made.packages / "package.py").is_file()
    assert "Installing what is missing" in capfd.readouterr().out
    made()
    assert len(made.installed) == 1


def test_files_of_a_package_that_pip_believes_to_be_there_lead_to_a_new_environment(
    made: Builder, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its metadata say that it is installed, so that pip would leave it as it is."""
    made.installed.clear()
    (made.packages / "broken-1.0.dist-info").mkdir()
    (made.packages / "broken-1.0.dist-info" / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (made.packages / "broken-1.0.dist-info" / "RECORD").write_text("broken/__init__.py,,\n")
    made()
    assert "its packages are broken; it is removed and built again" in capfd.readouterr().out
    assert len(made.installed) == 2 and not list(made.packages.glob("broken*"))


def test_a_moved_environment_is_built_again(
    builder: Builder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    builder()
    before, builder.venv = builder.venv, builder.venv.rename(tmp_path / "moved")
    builder()
    said = capfd.readouterr().out
    assert f"it was moved from {before}; it is removed and built again" in said
    assert len(builder.installed) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "[1]", '{"venv": 1}', '{"state": "complete"}'])
def test_a_damaged_note_leads_to_a_new_environment(
    builder: Builder, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    builder.venv.mkdir()
    (builder.venv / NOTE).write_text(content)
    builder(dry_run=True)
    assert "it is removed and built again" in capfd.readouterr().out


def test_an_environment_whose_python_is_gone_is_built_again(
    builder: Builder, capfd: pytest.CaptureFixture[str]
) -> None:
    builder.venv.mkdir()
    note = {"venv": str(builder.venv), "python": "3.11", "extras": [], "digest": ""}
    (builder.venv / NOTE).write_text(json.dumps(note))
    builder(dry_run=True)
    assert "its Python or its pip is gone; it is removed and built again" in capfd.readouterr().out


def test_another_python_leads_to_a_new_environment(builder: Builder, capfd: pytest.CaptureFixture[str]) -> None:
    builder.venv.mkdir()
    note = {"venv": str(builder.venv), "python": "3.9", "extras": [], "digest": ""}
    (builder.venv / NOTE).write_text(json.dumps(note))
    builder(dry_run=True, python=sys.executable)
    assert "it has Python 3.9, wanted is 3.1" in capfd.readouterr().out


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_belongs_to_somebody_else_is_left_alone(builder: Builder, kind: str) -> None:
    precious = builder.venv / "precious.txt" if kind == "folder" else builder.venv
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("mine")
    with pytest.raises(SetupError, match="did not make it.*--venv"):
        builder()
    assert precious.read_text() == "mine" and not builder.installed


@pytest.mark.parametrize("error", [SetupError("no network"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_an_installation_that_did_not_end_well_goes_on_at_the_next_start(made: Builder, error: BaseException) -> None:
    def install(environment: Environment, extras: Sequence[str]) -> None:
        raise error

    made.pins.write_text(f"package==3.0 {type(error)}")
    with pytest.raises(type(error)):
        made(install=install)
    made.installed.clear()
    made()
    assert len(made.installed) == 1  # though the names of what is there are the same as before
    made()
    assert len(made.installed) == 1


def test_packages_that_cannot_be_used_are_shown(builder: Builder, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupError, match="cannot be used"):
        builder(install=lambda environment, extras: None)
    assert "No module named 'package'" in capfd.readouterr().err


def test_a_missing_interpreter_is_named(builder: Builder) -> None:
    with pytest.raises(SetupError, match="no-such-python cannot be used.*--python=PATH"):
        builder(python="no-such-python")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sys.version_info = (3, 9, 1)", "this is Python 3.9, and a 64-bit Python 3.10 or newer is needed"),
        ("sys.maxsize = 2**31 - 1", "64-bit"),
        ("sys.modules['ensurepip'] = None", r"ensurepip.*sudo apt install python3\.\d+-venv"),
    ],
)
def test_unsuitable_interpreters_are_named(
    builder: Builder, change: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_venv, "PROBE", _venv.PROBE.replace("import sys\n", f"import sys\n{change}\n", 1))
    with pytest.raises(SetupError, match=message):
        builder(python=sys.executable)
    assert not builder.venv.exists()


def test_programs_run_as_after_activation_and_the_user_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONHOME", "elsewhere")
    variables = environment.variables()
    assert variables["VIRTUAL_ENV"] == str(tmp_path)
    assert variables["PATH"].startswith(str(environment.scripts))
    assert "PYTHONHOME" not in variables
    assert (variables["MLFLOW_DISABLE_TELEMETRY"], variables["OMP_WAIT_POLICY"]) == ("true", "PASSIVE")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert environment.variables()["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_full_disk_is_reported_before_anything_is_made(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_venv, "NEEDED_GIB", 4)
    monkeypatch.setattr(_venv.shutil, "disk_usage", lambda path: argparse.Namespace(free=2**30))
    with pytest.raises(SetupError, match=r"Only 1\.0 GiB are free .* takes 4 GiB"):
        builder("dev")
    assert not builder.installed and not builder.venv.exists()


def test_an_import_that_fails_is_said_and_rebuilds_nothing(builder: Builder) -> None:
    builder("dev")
    (builder.venv / "kept").touch()
    builder.pins.write_text("package==2.0")
    options = argparse.Namespace(venv=str(builder.venv), python=None, pip_option=[], dry_run=False)
    with pytest.raises(SetupError, match="cannot be used"):
        build(options, (builder.pins,), builder.install, "import no_such_package")
    assert len(builder.installed) == 2 and (builder.venv / "kept").exists()
