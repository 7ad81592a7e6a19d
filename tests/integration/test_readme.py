"""Every command of the README, as it stands there, on a fresh copy of the bundles with pictures to work on."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..dicom.objects import image, save

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration
ELSEWHERE = {
    "python scripts/quickstart.py": ("tests/scripts/test_from_nothing.py", "scripts/quickstart.py"),
    "python scripts/run_tests.py": (".ci/run", "scripts/run_tests.py"),
    "python scripts/run_tests.py --integration": (".ci/run", "scripts/run_tests.py --integration"),
    "medssm export mamba_mis --formats torchscript exported": (
        "tests/scripts/test_from_nothing.py",
        '"export", "mamba_mis", "--formats", "torchscript", "exported"',
    ),
    "medssm view": ("tests/integration/viewer_server.py", "medssm_monai.apps.viewer"),
    "python -m sphinx -b html docs docs/_build/html": ("tests/integration/test_docs.py", '"sphinx"'),
}
"""Commands that another test, or the CI, runs: where, and by which words."""
SHORTER = {"--max_epochs 40": "--max_epochs 1"}
SMALL = ["--image_size", "[32,32]", "--network_args", "{'base_dim':8,'d_state':4}"]


def commands() -> list[str]:
    """The lines of the README's shell blocks, comments left out."""
    blocks = re.findall(
        r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    lines = [
        re.sub(r"\s{2,}#.*", "", line).strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line for line in dict.fromkeys(lines) if line and not line.startswith("source ")]


COMMANDS = [command for command in commands() if command not in ELSEWHERE]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files of the bundles, the pictures that the commands name, and a folder with masks."""
    place = tmp_path_factory.mktemp("readme")
    names = subprocess.run(
        ["git", "ls-files", "bundles"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    generator = np.random.default_rng(0)

    def picture(path: Path, channels: tuple[int, ...] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (64, 64, *channels), dtype=np.uint8)).save(path)

    for name in ("xray.png", "mri.png", "ct.png"):
        picture(place / name)
    picture(place / "lesion.jpg", (3,))
    for number in range(10):
        picture(place / "FOLDER" / "images" / f"{number}.png", (3,))
        mask = np.zeros((64, 64), np.uint8)
        mask[10 + number : 40, 20:50] = 255
        (place / "FOLDER" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(place / "FOLDER" / "masks" / f"{number}.png")
    shutil.copytree(place / "FOLDER" / "images", place / "IMAGES")
    save(image("XC", generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)), place / "STUDIES" / "1.dcm")
    return place


def variables(checkout: Path) -> dict[str, str]:
    return {**os.environ, "MEDSSM_BUNDLES": str(checkout / "bundles"), "MLFLOW_DISABLE_TELEMETRY": "true"}


def test_commands_that_run_elsewhere_do() -> None:
    for command, (where, text) in ELSEWHERE.items():
        assert text in (ROOT / where).read_text(encoding="utf-8"), command


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(checkout: Path, command: str) -> None:
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    words = shlex.split(command)
    start = {"medssm": [sys.executable, "-m", "medssm_monai"], "python": [sys.executable]}[words[0]]
    small = [*SMALL, "--max_epochs", "1"] if "training" in words else SMALL if words[1] == "train" else []
    done = subprocess.run(
        [*start, *words[1:], *small],
        cwd=checkout,
        env=variables(checkout),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_the_python_of_the_readme_runs(checkout: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env=variables(checkout),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.match(r"(normal|pneumonia) 0\.\d+ \{'normal': ", done.stdout)
