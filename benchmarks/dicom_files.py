"""Every DICOM file of pydicom's tests and of the package pydicom-data: what the readers make of it.

The readers decode with GDCM. They are held against pydicom's decoders (pylibjpeg, and its own), with palettes, color
spaces, rescaling and MONOCHROME1 written out here. Writes the table of ``docs/dicom_files.md``::

    pip install "medssm-monai[dicom]" pydicom-data pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle
    python -m benchmarks.dicom_files docs/dicom_files.md
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssm_monai.data.readers.image import Reader2D

JPEG = [f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)]  # the first two lose
COLORS = 3
MOST, MEAN = 6.0, 0.5  # gray values by which lossy JPEG may differ: decoders round, and share chroma, differently
FLOAT32 = 1e-6  # of the largest value


TITLE = """# DICOM files of other projects

What the readers make of every DICOM file of [pydicom](https://github.com/pydicom/pydicom)'s tests and of the package
`pydicom-data`: compressed in many ways, colored, in several frames, damaged, or no images at all. Each file gives
either the right pixels or one error that names it. The readers decode with GDCM (through ITK); the pixels are held
against pydicom's decoders and DCMTK's (JPEG), with palettes, rescaling and MONOCHROME1 computed apart. Values are those
of the file, without a window; colors are RGB. [Which DICOM is read](data.md) says the rules.
`python -m benchmarks.dicom_files docs/dicom_files.md` writes this page.
"""


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


def opened(path: Path) -> Any:
    """A file as pydicom reads it, with a transfer syntax where it states none, and one frame where it states nonsense."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    header = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit = header.original_encoding[0]
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    try:
        int(header.get("NumberOfFrames") or 1)
    except ValueError:  # badVR.dcm says 1A
        del header.NumberOfFrames
    return header


def decoded(path: Path) -> tuple[Any, np.ndarray]:
    """Header and pixels by pydicom's decoders; of JPEG by DCMTK's, where ``dcmdjpeg`` is there."""
    from pydicom.pixels import pixel_array

    header = opened(path)
    program = shutil.which("dcmdjpeg")
    if program and header.file_meta.TransferSyntaxUID in JPEG:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "plain.dcm"
            done = subprocess.run([program, str(path), str(plain)], check=False, capture_output=True)
            if done.returncode == 0:  # else pydicom may know the way
                header = opened(plain)
                return header, pixel_array(header, raw=False)
    return header, pixel_array(header, raw=False)


def rescaled(values: np.ndarray, header: Any, frame: int) -> np.ndarray:
    """Slope and intercept of the header, or of the functional groups of a frame."""
    place = header
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = header.get(name)
        item = groups[frame if name.startswith("Per") else 0] if groups else {}
        if "PixelValueTransformationSequence" in item:
            place = item.PixelValueTransformationSequence[0]
    slope, intercept = place.get("RescaleSlope"), place.get("RescaleIntercept")
    return values * float(1 if slope is None else slope) + float(0 if intercept is None else intercept)


def oracle(path: Path) -> tuple[np.ndarray, str]:
    """Frames ``(frames, H, W[, 3])`` float64 as they are displayed before windowing, and ``"lossless"`` or ``"lossy"``.

    Raises:
        Exception: as pydicom, for files without pixels, or with such as it does not decode.
    """
    from pydicom.pixels import apply_color_lut

    header, values = decoded(path)
    frames = int(header.get("NumberOfFrames") or 1)
    kind = "lossy" if opened(path).file_meta.TransferSyntaxUID in JPEG[:2] else "lossless"
    values = values if frames > 1 else values[None]
    photometric = header.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, header)
        values = values // 256 if values.dtype == np.uint16 else values
        return values[..., :COLORS].astype(np.float64), kind
    if header.SamplesPerPixel == COLORS:
        return values.astype(np.float64), kind
    if photometric == "MONOCHROME1":
        lowest = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
        values = 2 * lowest + 2**header.BitsStored - 1 - values.astype(np.float64)
    return np.stack([rescaled(plane.astype(np.float64), header, frame) for frame, plane in enumerate(values)]), kind


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
    sop_class = header.get("SOPClassUID")
    what = " ".join(filter(None, (str(header.get("Modality") or "").strip(), getattr(sop_class, "name", "no class"))))
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
        expected, kind = oracle(path)
    except Exception as error:  # pydicom raises many kinds
        return Row(*facts, "unchecked", None, f"read, but not by pydicom: {str(error).splitlines()[0]}")
    if expected.shape != values.shape:
        return Row(*facts, "wrong", None, f"shape {values.shape}, expected {expected.shape}")
    apart = np.abs(values - expected)
    within = MOST if kind == "lossy" else max(float(np.abs(expected).max()), 1.0) * FLOAT32
    right = apart.max() <= within and (kind != "lossy" or apart.mean() <= MEAN)
    return Row(*facts, "right" if right else "wrong", float(apart.max()))


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


def result(row: Row) -> str:
    """As the table says it."""
    if row.result == "right":
        return "pixels right"
    return {"error": "error", "wrong": "WRONG", "unchecked": "read, unchecked"}[row.result] + f": {row.note}"


def page(found: list[Row]) -> str:
    """The page: what the numbers are, and the table."""
    counts = {name: sum(row.result == name for row in found) for name in ("right", "error", "wrong", "unchecked")}
    lines = [
        TITLE,
        f"Of {len(found)} files {counts['right']} give the right pixels and {counts['error']} one error that names the "
        f"file; {counts['wrong']} are wrong, {counts['unchecked']} could not be checked.",
        "",
        "| file | kind | stored as | result | largest difference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in found:
        apart = "" if row.difference is None else f"{row.difference:.3g}"
        lines.append(f"| {row.file} | {row.what} | {row.syntax} | {result(row)} | {apart} |".replace("<", "&lt;"))
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page; returns 1 where a file is wrong."""
    found = rows()
    Path(arguments[0]).write_text(page(found), encoding="utf8")
    return int(any(row.result == "wrong" for row in found))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
