"""Small synthetic classification sets for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .builders import picture, save

CLASSES = ("a", "b")


def save_classes(root: Path, counts: dict[str, int], inner: str = "", seed: int = 0) -> Path:
    """``<root>/<class>/[inner/]<class>-<i>.png`` with pictures that all differ."""
    for index, (name, count) in enumerate(counts.items()):
        folder = root / name / inner
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            save(picture(seed=seed + 1000 * index + i), folder / f"{name}-{i}.png")
    return root


def npz_arrays(counts: tuple[int, int, int] = (8, 4, 4), shape: tuple[int, ...] = (10, 12), classes: int = 2) -> dict:
    """Arrays of a MedMNIST file: uint8 noise, labels in turn, ``(N, 1)``."""
    rng = np.random.default_rng(0)
    arrays = {}
    for key, count in zip(("train", "val", "test"), counts, strict=True):
        arrays[f"{key}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{key}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    return arrays


def save_npz(path: Path, **changes) -> Path:
    """A MedMNIST file with some arrays replaced, or left out where None."""
    arrays = {**npz_arrays(), **changes}
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def save_isic(root: Path, count: int = 40, lesions: bool = True) -> pd.DataFrame:
    """ISIC 2019's layout in small: three classes, UNK without rows; two images per lesion. Returns the label table."""
    folder = root / "ISIC_2019_Training_Input"
    names = [f"ISIC_{i:07d}" for i in range(count)]
    for seed, name in enumerate(names):
        save(picture(seed=seed), folder / f"{name}.jpg")
    labels = np.arange(count) // 2 % 3
    table = pd.DataFrame({"image": names})
    for index, column in enumerate(("MEL", "NV", "BCC", "UNK")):
        table[column] = (labels == index).astype(float)
    table.to_csv(root / "ISIC_2019_Training_GroundTruth.csv", index=False)
    if lesions:
        groups = [f"L{i // 2}" if i // 2 else "" for i in range(count)]
        pd.DataFrame({"image": names, "age_approx": 50, "lesion_id": groups}).to_csv(
            root / "ISIC_2019_Training_Metadata.csv", index=False
        )
    return table
