"""The README's commands, for real: fresh copies, fresh environments, real trainings. Needs a package index."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from _venv import Environment
from PIL import Image

from ..integration.environments import own_variables
from ..thorough import first_of

pytestmark = pytest.mark.integration

CONFIG = Path("bundles/mamba_mis/configs/train.yaml")
BUNDLES = ("clinical_fmamba", "mamba_mis", "medconvmamba", "medspectralnet")


def succeed(command: list[str], cwd: Path, **variables: str) -> str:
    """Run a program as a user would, without this checkout on its path; return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=own_variables("MEDSSM_DATA", **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(
    repository_root: Path, tracked_files: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A fresh copy of the tracked files in an otherwise empty folder, which is gone afterwards with its environment."""
    target = tmp_path_factory.mktemp("empty") / "medssm-monai"
    for path in tracked_files:
        copy = target / path.relative_to(repository_root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    yield target
    shutil.rmtree(target.parent)


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


@pytest.mark.parametrize("place", first_of(["inside the bundle", "repository root", "absolute path"]))
def test_the_bare_command_works_from(checkout: Path, environment: Environment, tmp_path: Path, place: str) -> None:
    folder, config = {
        "inside the bundle": (CONFIG.parent.parent, CONFIG.relative_to(CONFIG.parent.parent)),
        "repository root": (Path("."), CONFIG),
        "absolute path": (Path(".."), checkout / CONFIG),
    }[place]
    command = [str(environment.python), "-m", "monai.bundle", "run", "training", "--config_file", str(config)]
    overrides = ["--max_epochs", "1", "--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    succeed([*command, *overrides], checkout / folder, PATH=environment.variables()["PATH"])
    assert any((tmp_path / "out").rglob("*.pt"))


@pytest.fixture(scope="module")
def installed(checkout: Path, environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The quick start's environment with the wheel in place of the checkout, which it no longer knows.

    What the wheel needs was installed for the checkout, from the same list: pip then has nothing to add, and misses
    nothing. The tests of the checkout itself come before.
    """
    place = tmp_path_factory.mktemp("wheel")
    python = str(environment.python)
    succeed([python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(place), "."], checkout)
    (wheel,) = place.glob("*.whl")
    succeed([python, "-m", "pip", "uninstall", "--yes", "medssm-monai"], place)
    output = succeed([python, "-m", "pip", "install", str(wheel), "-c", str(checkout / "constraints.txt")], place)
    (added,) = re.findall(r"^Successfully installed (.*)$", output, re.MULTILINE)
    assert re.fullmatch(r"medssm-monai-\S+", added)
    succeed([python, "-m", "pip", "check"], place)
    where = succeed([python, "-c", "import medssm_monai; print(medssm_monai.__file__)"], place)
    assert Path(where.strip().splitlines()[-1]).is_relative_to(environment.venv / "lib")
    return environment


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with two gray pictures, to work in."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96), dtype=np.uint8)
    for name, picture in zip("ab", pixels, strict=True):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return tmp_path


def medssm(environment: Environment, *words: str, cwd: Path) -> str:
    """Run the installed command and print its time."""
    start = time.perf_counter()
    output = succeed([str(environment.scripts / "medssm"), *words], cwd)
    print(f"medssm {' '.join(words)}: {time.perf_counter() - start:.1f} s")
    return output


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_wheel_alone_predicts(installed: Environment, here: Path, bundle: str) -> None:
    images = ["a.png", "b.png"] if bundle == "clinical_fmamba" else ["a.png"]
    output = medssm(installed, "predict", bundle, *images, "-o", "results", cwd=here)
    assert "come with the bundle" in output and "1 of 1" in output
    assert any((here / "results").iterdir())
    assert {path.name for path in here.iterdir()} == {"a.png", "b.png", "results"}


def test_the_wheel_alone_trains_evaluates_and_exports(installed: Environment, here: Path) -> None:
    packed = sorted(installed.venv.glob("lib/python*/site-packages/medssm_monai/bundles/**/*"))
    words = ["--max_epochs", "1", "--datalists#demo_counts", "[32,16,16]"]
    output = medssm(installed, "train", "mamba_mis", *words, cwd=here)
    assert "Trained: best val_mean_dice" in output
    assert "Evaluated: dice" in medssm(installed, "evaluate", "mamba_mis", cwd=here)
    assert "passed" in medssm(installed, "export", "mamba_mis", "--formats", "torchscript", "exported", cwd=here)
    assert all((here / "mamba_mis" / "models" / "trained" / name).is_file() for name in ("model.ts", "model.pt2"))
    assert sorted(installed.venv.glob("lib/python*/site-packages/medssm_monai/bundles/**/*")) == packed


def test_the_wheel_alone_is_loaded_from_python_and_copied(installed: Environment, here: Path) -> None:
    code = "import medssm_monai; print(medssm_monai.load('medconvmamba').predict('a.png').class_name)"
    assert succeed([str(installed.python), "-c", code], here).split()[-1] in ("normal", "pneumonia")
    medssm(installed, "bundle", "copy", "medspectralnet", "mine", cwd=here)
    config = here / "mine" / "medspectralnet" / "configs" / "train.yaml"
    command = [str(installed.python), "-m", "monai.bundle", "run", "training", "--config_file", str(config)]
    succeed([*command, "--max_epochs", "1", "--datalists#demo_counts", "[64,32,32]"], here)
    assert (here / "mine" / "medspectralnet" / "models" / "trained" / "model.pt").is_file()
