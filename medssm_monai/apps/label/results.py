"""Result images in the format that a client asks for."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np

__all__ = ["suffix_of", "write_as"]

RASTER = ".png"


def suffix_of(path: Path) -> str:
    """``.nii.gz``, or the last suffix."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def write_as(
    source: Path, target: Path, *, labels: bool = False, dtype: str | None = None, compress: bool = True
) -> Path:
    """Write a result again, with its geometry, as what the suffix of ``target`` says.

    Masks of pictures hold 255; in formats of volumes they become label numbers, as editors want them, and one slice.

    Args:
        source: PNG or NIfTI.
        target: ``.png`` (of a PNG only), ``.nii``, ``.nii.gz`` or ``.nrrd``.
        labels: whether it is a mask.
        dtype: of the values in the file; None keeps them.
        compress: NRRD files.

    Raises:
        ValueError: a PNG of what is no picture, or of other values than 8 bits.
    """
    picture, wanted = suffix_of(source) == RASTER, suffix_of(target)
    if wanted == RASTER:
        if not picture or dtype not in (None, "uint8"):
            raise ValueError(f"result_extension {RASTER} is for masks of pictures, with result_dtype uint8.")
        source.replace(target)
        return target
    image = itk.imread(str(source))
    values = itk.array_from_image(image)
    if labels:
        values = (values > 0).astype(dtype or np.uint8)
    if picture:  # one slice, as editors of volumes read a picture
        made = itk.image_from_array(values[None], is_vector=values.ndim == 3)
    else:
        made = itk.image_from_array(values, is_vector=values.ndim > image.GetImageDimension())
        made.CopyInformation(image)
    itk.imwrite(made, str(target), compression=compress or wanted == ".nii.gz")
    source.unlink()
    return target
