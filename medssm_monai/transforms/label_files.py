"""Files of label maps that lose neither names nor geometry: indexed PNG, NIfTI with a comment, ``labels.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..data.labels import BACKGROUND, LabelSet
from ..data.readers.files import NIFTI
from ..utils import replace_file
from .save import as_array

__all__ = ["LABELS_FILE", "TEXT_KEY", "file_names", "label_nifti", "label_picture", "nifti_like", "write_labels"]

nib, _ = optional_import("nibabel")

LABELS_FILE = "labels.json"
TEXT_KEY = "labels"
"""Key of a PNG's text that holds names and values."""
LARGEST_INDEX = 255
LONGEST_NAME = 60
GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *(f"quatern_{axis}" for axis in "bcd"),
    *(f"qoffset_{axis}" for axis in "xyz"),
)
SAME_PLACE = 1e-4  # mm


def _contents(labels: LabelSet) -> dict[str, Any]:
    colors = {name: list(color) for name, color in zip(labels.names, labels.colors, strict=True)}
    return {"labels": {BACKGROUND: 0, **labels.labels}, "colors": colors}


def write_labels(folder: PathLike, labels: LabelSet) -> Path:
    """Write names, values and colors into ``labels.json`` of a folder, ``{"labels": {...}, "colors": {...}}``, values
    as nnU-Net's ``dataset.json`` has them."""
    target = Path(folder) / LABELS_FILE
    with replace_file(target) as temporary:
        Path(temporary).write_text(f"{json.dumps(_contents(labels), indent=1)}\n", encoding="utf8")
    return target


def label_picture(values: np.ndarray, labels: LabelSet) -> tuple[Image.Image, PngInfo]:
    """A label map ``(H, W)`` as a picture, and the text that belongs into its file.

    Values up to 255 are indices into a palette with the colors of the classes and a black background (mode ``P``),
    larger ones 16-bit gray.
    """
    text = PngInfo()
    text.add_text(TEXT_KEY, json.dumps(_contents(labels)["labels"]))
    if max(labels.written) > LARGEST_INDEX:
        return Image.fromarray(values.astype(np.uint16)), text
    palette = np.zeros((max(labels.written) + 1, 3), dtype=np.uint8)
    for value, color in zip(labels.written, labels.colors, strict=True):
        palette[value] = color
    picture = Image.frombytes("P", values.shape[::-1], values.astype(np.uint8).tobytes())
    picture.putpalette(palette.tobytes())
    return picture, text


def label_nifti(values: np.ndarray, meta: Mapping[str, Any], labels: LabelSet) -> Any:
    """A label map ``(1, *spatial)`` as :func:`nifti_like` makes it, names and values in a comment of the header."""
    image = nifti_like(values, meta)
    comment = json.dumps({"labels": _contents(labels)["labels"]}).encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment))
    return image


def nifti_like(values: np.ndarray, meta: Mapping[str, Any]) -> Any:
    """``(C, H, W)`` or ``(C, X, Y, Z)`` as a NIfTI image in the place of the file that the metadata come from.

    A slice has the shape of its file, volumes their three axes; several channels lie on a fourth axis. q-form, s-form,
    their codes and units are those of the file where it is NIfTI.
    """
    shape = tuple(int(size) for size in as_array(meta["file_size"]))
    channels = list(values)
    if len(shape) == 2:  # (row = y, column = x) -> (x, y) with the axes of length one
        shape = tuple(int(size) for size in as_array(meta["file_shape"]) if size > 0)
        channels = [channel.T.reshape(shape) for channel in channels]
    if len(channels) == 1:
        array = channels[0]
    else:
        sides = (*shape, 1, 1)[:3] if all(side == 1 for side in shape[3:]) else shape
        array = np.stack([channel.reshape(sides) for channel in channels], axis=-1)
    affine = np.asarray(as_array(meta["file_affine"]), dtype=np.float64)
    source = Path(str(meta["filename_or_obj"]))
    original = nib.load(source) if meta.get("file_kind") == NIFTI and source.is_file() else None
    if original is None or not np.allclose(original.affine, affine, rtol=0, atol=SAME_PLACE):
        return nib.Nifti1Image(array, affine)
    made = type(original)(array, None)
    for key in GEOMETRY:
        made.header[key] = original.header[key]
    made.header["pixdim"][4:] = 1
    return type(original)(array, None, made.header)


def file_names(names: Sequence[str]) -> list[str]:
    """Names of classes as parts of file names: letters, digits, ``-`` and ``_``; no two alike, whatever their case."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w-]+", "_", name).strip("_")[:LONGEST_NAME] or "class"
        taken = {other.casefold() for other in found}
        endings = ("", *(f"_{number}" for number in range(2, len(names) + 2)))
        found.append(next(f"{plain}{end}" for end in endings if f"{plain}{end}".casefold() not in taken))
    return found
