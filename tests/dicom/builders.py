"""DICOM files written by pydicom."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

__all__ = ["CT", "MR", "PYDICOM", "ULTRASOUND", "enhanced", "save", "stack"]

PYDICOM = pytest.mark.skipif(
    find_spec("pydicom") is None,
    reason='needs pydicom: pip install "medssm-monai[dicom]"',
)
CT, MR, ENHANCED_MR = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "4.1"))
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
SHAPE = (6, 5)  # rows, columns
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
STUDY = "1.2.826.0.1.3680043.10.9"


def save(path: Path, pixels: np.ndarray | None, sop_class: str = MR, syntax: str | None = None, **values) -> Path:
    """One instance; ``values`` are attributes, None leaves one out."""
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID = sop_class, generate_uid(entropy_srcs=[str(path)])
    header.StudyInstanceUID, header.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    header.Modality = {CT: "CT", ULTRASOUND: "US"}.get(sop_class, "MR")
    if pixels is not None:
        header.Rows, header.Columns = pixels.shape[-2:]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
        header.HighBit = header.BitsStored - 1
        header.PixelRepresentation = int(pixels.dtype.kind == "i")
        if pixels.ndim == 3:
            header.NumberOfFrames = len(pixels)
        header.PixelData = pixels.tobytes()
        header["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    for name, value in values.items():
        if value is None:
            header.pop(name, None)
        else:
            setattr(header, name, value)
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = sop_class
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax is not None:  # whatever it is, the fragment holds the plain bytes
        header.file_meta.TransferSyntaxUID = syntax
        header.PixelData = encapsulate([header.PixelData])
        header["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return path


def stack(
    folder: Path,
    count: int = 4,
    orientation=AXIAL,
    step=None,
    spacing=(2.0, 3.0),
    first: int = 0,
    skip=(),
    sop_class: str = MR,
    **values,
) -> np.ndarray:
    """Slices of one volume, each in its file, names and instance numbers against their order in space.

    Returns:
        stored values ``(count, rows, columns)``, along the normal.
    """
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    step = 4.0 * np.cross(row, column) if step is None else np.asarray(step)
    stored = np.random.default_rng(first).integers(0, 1000, (count, *SHAPE), dtype=np.int16)
    for number in set(range(count)) - set(skip):
        place = np.array([10.0, -20.0, 30.0]) + number * step
        save(
            folder / f"{first + count - number:04d}.dcm",
            stored[number],
            sop_class,
            **{
                "InstanceNumber": first + count - number,
                "ImagePositionPatient": [float(f"{part:.8g}") for part in place],
                "ImageOrientationPatient": [float(f"{part:.8g}") for part in orientation],
                "PixelSpacing": list(spacing),
                "SliceThickness": 4.0,
                **values,
            },
        )
    return stored


def enhanced(path: Path, stored: np.ndarray, order, **groups) -> Path:
    """An enhanced MR of frames 4 mm apart: frame i lies at place ``order[i]``; ``groups`` gives each frame's echo."""
    from pydicom import Dataset

    def item(name: str, **values) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for key, value in values.items():
            setattr(inner, key, value)
        setattr(outer, name, [inner])
        return outer

    shared = item("PlaneOrientationSequence", ImageOrientationPatient=list(AXIAL))
    shared.update(item("PixelMeasuresSequence", PixelSpacing=[2.0, 3.0], SliceThickness=4.0))
    frames = []
    for number, place in enumerate(order):
        frame = item("PlanePositionSequence", ImagePositionPatient=[10.0, -20.0, 30.0 + 4 * place])
        if "echo" in groups:
            frame.update(item("MREchoSequence", EffectiveEchoTime=float(groups["echo"][number])))
        frames.append(frame)
    return save(
        path,
        stored,
        ENHANCED_MR,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
