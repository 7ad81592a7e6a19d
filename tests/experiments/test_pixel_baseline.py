from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np


def test_bright_and_dark_images_are_told_apart_and_noise_is_not(repository_root: Path, tmp_path: Path) -> None:
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

    def accuracy(name: str) -> float:
        command = [sys.executable, "scripts/pixel_baseline.py", "--dataset_dir", str(tmp_path / name), "--size", "8"]
        done = subprocess.run(command, cwd=repository_root, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return float(re.search(r"^accuracy +([0-9.]+)", done.stdout, re.MULTILINE).group(1))

    assert accuracy("shades.npz") == 1.0
    assert accuracy("noise.npz") < 0.8
