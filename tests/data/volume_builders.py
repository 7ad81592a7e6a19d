"""Small NIfTI volumes and data sets of them for the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHAPE = (6, 5, 4)
SPACED = np.diag([1.0, 2.0, 3.0, 1.0])


def save_volume(values: np.ndarray, path: Path, affine: np.ndarray = SPACED) -> Path:
    """Write an array as NIfTI, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def volume(seed: int = 0, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Float32 noise."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def classes(values: Sequence[int] = (1, 2), shape: Sequence[int] = SHAPE) -> np.ndarray:
    """A label map in which each value has one slab, the rest being background."""
    found = np.zeros(shape, np.uint8)
    for place, value in enumerate(values):
        found[place] = value
    return found


def write_json(folder: Path, content: Mapping[str, Any]) -> Path:
    """A ``dataset.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset.json"
    path.write_text(json.dumps(content))
    return path


def nnunet_folder(root: Path, names: Sequence[str], channels: Sequence[str] = ("T2", "ADC")) -> Path:
    """An nnU-Net folder of volumes with the classes PZ 1 and TZ 2."""
    for seed, name in enumerate(names):
        for number in range(len(channels)):
            save_volume(volume(seed + 100 * number), root / "imagesTr" / f"{name}_{number:04d}.nii.gz")
        save_volume(classes(), root / "labelsTr" / f"{name}.nii.gz")
    facts = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {"background": 0, "PZ": 1, "TZ": 2},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    write_json(root, facts)
    return root


def decathlon_folder(root: Path, names: Sequence[str], shape: Sequence[int] = SHAPE) -> Path:
    """A Decathlon folder with the class edema 1; ``shape`` with a fourth axis for several channels."""
    for seed, name in enumerate(names):
        save_volume(volume(seed, shape), root / "imagesTr" / f"{name}.nii.gz")
        save_volume(classes((1,)), root / "labelsTr" / f"{name}.nii.gz")
    facts = {
        "modality": {str(number): f"M{number}" for number in range(shape[3] if len(shape) > 3 else 1)},
        "labels": {"0": "background", "1": "edema"},
        "numTraining": len(names),
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names],
        "test": ["./imagesTs/z.nii.gz"],
    }
    write_json(root, facts)
    return root
