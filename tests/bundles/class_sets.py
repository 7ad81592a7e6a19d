"""Small image sets of one class, of exclusive classes, and of regions, in 2D and 3D, in the layout of nnU-Net.

Every class is a block of its own gray value at a random place: hand counts are easy, and networks learn something.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

AFFINE = np.array([[-1.0, 0.2, 0, 10], [0.2, 1.2, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])
"""Oblique, left-handed, with three spacings."""


@dataclass(frozen=True)
class ClassSet:
    """A kind of image set.

    Attributes:
        name: of the test.
        spatial_dims: 2 or 3.
        labels: as ``dataset.json`` has them.
        channels: files per volume; pictures are one RGB file.
    """

    name: str
    spatial_dims: int
    labels: dict[str, Any]
    channels: int = 1

    def __str__(self) -> str:
        return self.name

    @property
    def size(self) -> tuple[int, ...]:
        """Of an image: rows and columns, or X, Y, Z."""
        return (40, 36) if self.spatial_dims == 2 else (36, 30, 34)

    @property
    def ending(self) -> str:
        return ".png" if self.spatial_dims == 2 else ".nii.gz"

    @property
    def classes(self) -> list[str]:
        return [name for name in self.labels if name not in ("background", "ignore")]

    @property
    def overlays(self) -> tuple[str, ...]:
        """Config files of a training."""
        return ("train.yaml",) if self.spatial_dims == 2 else ("train.yaml", "volume.yaml")

    @property
    def tiny(self) -> dict[str, Any]:
        """Settings of a quick training."""
        common = {"batch_size": 2, "max_epochs": 1, "device": "cpu", "split": "by_name"}
        if self.spatial_dims == 2:
            return common | {
                "image_size": [32, 32],
                "network_args": {"base_dim": 8, "d_state": 4, "strides": [2, 2, 2, 2]},
            }
        arguments = {"base_dim": 8, "d_state": 4, "strides": [2, 2, 2, 2], "depths": [1, 1, 1, 1]}
        arguments["decoder_depths"] = [1, 1, 1, 1, 1]
        return common | {"image_size": [16, 16, 16], "network_args": arguments, "val_interval": 1}

    def sample(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Image ``(C, *size)`` and raw mask ``(*size)`` number so and so."""
        rng = np.random.default_rng([number, self.spatial_dims])
        values = sorted({v for value in self.labels.values() for v in np.atleast_1d(value).tolist()} - {0})
        mask = np.zeros(self.size, np.uint8)
        image = rng.normal(40, 8, (self.channels, *self.size))
        for value in values:
            corner = [int(rng.integers(2, side - 12)) for side in self.size]
            block = tuple(slice(start, start + 10) for start in corner)
            mask[block] = value
            image[(slice(None), *block)] = (
                60 + 40 * values.index(value) + rng.normal(0, 8, image[(slice(None), *block)].shape)
            )
        return image.clip(1, 255), mask

    def write(self, folder: Path, count: int = 6, first: int = 0) -> Path:
        """Write ``count`` labeled cases."""
        images, labels = folder / "imagesTr", folder / "labelsTr"
        images.mkdir(parents=True)
        labels.mkdir()
        for number in range(first, first + count):
            image, mask = self.sample(number)
            self.write_image(images, f"case_{number:02d}", image)
            if self.spatial_dims == 2:
                Image.fromarray(mask).save(labels / f"case_{number:02d}.png")
            else:
                nib.save(nib.Nifti1Image(mask, AFFINE), labels / f"case_{number:02d}.nii.gz")
        names = ["R", "G", "B"] if self.spatial_dims == 2 else [f"t{n + 1}" for n in range(self.channels)]
        content = {
            "channel_names": {str(number): name for number, name in enumerate(names)},
            "labels": self.labels,
            "numTraining": count,
            "file_ending": self.ending,
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        return folder

    def write_image(self, folder: Path, name: str, image: np.ndarray) -> list[Path]:
        """Files of one image, ``<name>_0000`` and so on."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.spatial_dims == 2:
            path = folder / f"{name}_0000.png"
            Image.fromarray(np.repeat(image[0, ..., None], 3, -1).astype(np.uint8)).save(path)
            return [path]
        paths = [folder / f"{name}_{number:04d}.nii.gz" for number in range(self.channels)]
        for path, channel in zip(paths, image, strict=True):
            nib.save(nib.Nifti1Image(channel.astype(np.int16), AFFINE), path)
        return paths


ONE = {"background": 0, "tumor": 1}
FOUR = {"background": 0, "liver": 1, "spleen": 2, "kidney": 3, "tumor": 4}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
PARTLY = {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
CLASS_SETS = (
    ClassSet("one class 2D", 2, ONE),
    ClassSet("four classes 2D", 2, FOUR),
    ClassSet("regions 2D", 2, REGIONS),
    ClassSet("partly labeled 2D", 2, PARTLY),
    ClassSet("one class 3D", 3, ONE),
    ClassSet("four classes 3D", 3, FOUR),
    ClassSet("regions 3D", 3, REGIONS, channels=2),
)
