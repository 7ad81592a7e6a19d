"""The floor of a classification, as a command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medssm_monai.experiments import pixel_baseline

ROOT = Path(__file__).resolve().parents[2]


def test_bright_and_dark_images_are_told_apart_and_noise_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("val", 30), ("test", 40)):
        labels = np.arange(count) % 2
        images = rng.integers(0, 100, (count, 28, 28)) + 120 * labels[:, None, None]
        arrays |= {f"{part}_images": images.astype(np.uint8), f"{part}_labels": labels[:, None]}
    np.savez(tmp_path / "shades.npz", **arrays)
    for part in ("train", "val", "test"):
        arrays[f"{part}_labels"] = rng.permutation(arrays[f"{part}_labels"])
    np.savez(tmp_path / "noise.npz", **arrays)

    def accuracy(shown: str) -> float:
        return float(re.search(r"^accuracy +([0-9.]+)", shown, re.MULTILINE).group(1))

    words = ["--size", "8", "--dataset_dir"]
    command = [sys.executable, "-m", "medssm_monai.experiments.pixel_baseline", *words, str(tmp_path / "shades.npz")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert accuracy(done.stdout) == 1.0
    assert pixel_baseline.main([*words, str(tmp_path / "noise.npz")]) == 0
    assert accuracy(capsys.readouterr().out) < 0.8


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, capsys) -> None:
    assert pixel_baseline.main(["--dataset_dir", str(tmp_path / "nowhere")]) == 2
    shown = capsys.readouterr()
    assert "nowhere" in shown.err and "Traceback" not in shown.err and not shown.out


@pytest.mark.parametrize(
    ("lists", "part", "message"),
    [
        ({"training": [{}], "validation": [{}], "test": [{}]}, "validation", "no floor for the part 'validation'"),
        ({"training": [], "validation": [{}], "test": [{}]}, "test", "there are none in training"),
        ({"test": [{}]}, "test", "there are none in training, validation"),
    ],
)
def test_a_floor_that_would_know_the_answers_or_has_nothing_to_learn_from_is_refused(lists, part, message) -> None:
    with pytest.raises(ValueError, match=message):
        pixel_baseline.pixel_floor(lists, part)
