"""Every DICOM file of pydicom's tests and of the package pydicom-data: what the readers make of it.

The readers decode with GDCM. They are held against pydicom's decoders (pylibjpeg, and its own), with palettes, color
spaces, rescaling and MONOCHROME1 written out here. Writes the table of ``docs/dicom_files.md``::

    pip install "medssm-monai[dicom]" pydicom-data pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle
    python -m benchmarks.dicom_files docs/dicom_files.md
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssm_monai.data.readers.image import Reader2D

LOSSY = ("50", "51", "81", "91")  # last part of the transfer syntaxes that lose
COLORS = 3
TOLERANCE = {"lossless": 0.0, "lossy": 3.0}  # of stored values: inverse DCT and color conversion round differently


@dataclass(frozen=True)
class Row:
    """One file: what it is, and what became of it (``right``, ``error``, ``wrong``)."""

    file: str
    what: str
    syntax: str
    result: str
    difference: float | None
    note: str = ""


def folders() -> dict[str, Path]:
    """Folders of the files, by the package that brings them."""
    found = {}
    for package, below in (("pydicom", "data/test_files"), ("data_store", "data")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found["pydicom-data" if package == "data_store" else package] = Path(spec.origin).parent / below
    return found


def files(folder: Path) -> Iterator[Path]:
    """Files that are, or call themselves, DICOM."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (path.suffix.lower() == ".dcm" or path.open("rb").read(132)[128:] == b"DICM"):
            yield path


def oracle(path: Path) -> tuple[np.ndarray, str]:
    """Frames ``(frames, H, W[, 3])`` float64 as they are displayed before windowing, and ``"lossless"`` or ``"lossy"``.

    Raises:
        AttributeError, ValueError: as pydicom, for files without pixels, or with such as it does not decode.
    """
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_color_lut, pixel_array

    header = pydicom.dcmread(path, force=True)
    frames = int(header.get("NumberOfFrames") or 1)
    kind = "lossy" if header.file_meta.TransferSyntaxUID.rpartition(".")[2] in LOSSY else "lossless"
    values = pixel_array(header, raw=False)
    values = values if frames > 1 else values[None]
    photometric = header.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, header)
        values = values // 256 if values.dtype == np.uint16 else values
        return values[..., :COLORS].astype(np.float64), kind
    if header.SamplesPerPixel == COLORS:
        return values.astype(np.float64), kind
    shown = apply_modality_lut(values, header).astype(np.float64)
    if photometric == "MONOCHROME1":
        lowest = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
        ends = np.array([lowest, lowest + 2**header.BitsStored - 1])
        shown = apply_modality_lut(ends, header).sum() - shown
    return shown, kind


def read_frames(path: Path, frames: int) -> np.ndarray:
    """All frames ``(frames, H, W[, 3])`` as the reader gives them, one address at a time."""
    reader = Reader2D(channels=None, scale=False)
    names = [str(path)] if frames == 1 else [f"{path}/frames/{number}" for number in range(frames)]
    planes = [reader.get_data(reader.read(name))[0] for name in names]
    return np.stack([plane[0] if len(plane) == 1 else plane.transpose(1, 2, 0) for plane in planes])


def look_at(path: Path, name: str) -> Row:
    """Read a file in both ways."""
    import pydicom

    header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    kind = header.get("SOPClassUID")
    what = " ".join(filter(None, (str(header.get("Modality") or ""), getattr(kind, "name", "no class"))))
    facts = (name, what, getattr(syntax, "name", "not stated"))
    try:
        frames = int(header.get("NumberOfFrames") or 1)
    except ValueError:  # one file says 1A
        frames = 1
    try:
        values = read_frames(path, frames)
    except OSError as error:
        said = str(error)
        if not said.startswith(str(path)):
            return Row(*facts, "wrong", None, f"the error does not name the file: {said}")
        return Row(*facts, "error", None, said.removeprefix(str(path)).lstrip(": "))
    try:
        expected, losing = oracle(path)
    except Exception as error:  # pydicom raises many kinds
        return Row(*facts, "wrong", None, f"read, where pydicom says: {str(error).splitlines()[0]}")
    if expected.shape != values.shape:
        return Row(*facts, "wrong", None, f"shape {values.shape}, expected {expected.shape}")
    difference = float(np.abs(values - expected).max())
    scale = max(float(np.abs(expected).max()), 1.0)
    within = TOLERANCE[losing] if losing == "lossy" else scale * 1e-6  # float32
    return Row(*facts, "right" if difference <= within else "wrong", difference)


def rows() -> list[Row]:
    """Of all files."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            look_at(path, f"{package}: {path.relative_to(folder).as_posix()}")
            for package, folder in folders().items()
            for path in files(folder)
        ]
