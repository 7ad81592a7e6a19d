"""The README's commands, for real: fresh copies, fresh environments, real trainings. Needs a package index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv as venv_module
from pathlib import Path

import pytest
from _venv import Environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

CONFIG = Path("bundles/mamba_mis/configs/train.yaml")


def succeed(command: list[str], cwd: Path, **variables: str) -> str:
    """Run a program as a user would, without this checkout on its path; return what it printed."""
    hidden = ("PYTHONPATH", "MEDSSM_DATA", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(repository_root: Path, tracked_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of the tracked files in an otherwise empty folder."""
    target = tmp_path_factory.mktemp("empty") / "medssm-monai"
    for path in tracked_files:
        copy = target / path.relative_to(repository_root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return target


@pytest.fixture(scope="module")
def environment(checkout: Path) -> Environment:
    """The environment that the quick start makes, after a short training run on the demo set."""
    output = succeed([sys.executable, "scripts/quickstart.py", "--", "--max_epochs", "2"], checkout)
    assert "The training ended well." in output
    return Environment(checkout / ".venv")


def test_started_again_the_quick_start_reuses_its_environment(checkout: Path, environment: Environment) -> None:
    output = succeed([sys.executable, "scripts/quickstart.py", "--setup-only"], checkout)
    assert "it is complete" in output
    assert "pip" not in output


@pytest.mark.parametrize(
    ("folder", "config"),
    [(".", CONFIG), (CONFIG.parent.parent, CONFIG.relative_to(CONFIG.parent.parent)), ("..", "absolute")],
    ids=["repository root", "inside the bundle", "absolute path"],
)
def test_the_bare_command_works_from(
    checkout: Path, environment: Environment, tmp_path: Path, folder: str | Path, config: str | Path
) -> None:
    config = checkout / CONFIG if config == "absolute" else config
    command = [str(environment.python), "-m", "monai.bundle", "run", "training", "--config_file", str(config)]
    overrides = ["--max_epochs", "1", "--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    succeed([*command, *overrides], checkout / folder, PATH=environment.variables()["PATH"])
    assert any((tmp_path / "out").rglob("*.pt"))


def test_a_wheel_installs_in_a_fresh_environment_and_runs_a_bundle(checkout: Path, tmp_path: Path) -> None:
    fresh = Environment(tmp_path / "fresh")
    venv_module.create(fresh.venv, with_pip=True)
    python = str(fresh.python)
    succeed([python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path / "dist"), "."], checkout)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    succeed([python, "-m", "pip", "install", str(wheel), "-c", str(checkout / "constraints.txt")], tmp_path)
    where = succeed([python, "-c", "import medssm_monai; print(medssm_monai.__file__)"], tmp_path)
    assert Path(where.strip().splitlines()[-1]).is_relative_to(fresh.venv)

    bundles = shutil.copytree(checkout / "bundles", tmp_path / "bundles")
    config = bundles / CONFIG.relative_to("bundles")
    overrides = ["--max_epochs", "1", "--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    succeed([python, "-m", "monai.bundle", "run", "training", "--config_file", str(config), *overrides], tmp_path)
    assert any((tmp_path / "out").rglob("*.pt"))
