"""DICOM images made from arrays with pydicom, as series; and what checks the objects that are written about them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medssm_monai.dicom import ModelFacts, Series, find_series

FACTS = ModelFacts("mamba_mis", "0.1.0", "0.1.0", "ab" * 32, "polyps in colonoscopy frames")
CLASSES = {
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "EMR": "1.2.840.10008.5.1.4.1.1.4.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "XC": "1.2.840.10008.5.1.4.1.1.77.1.4",
    "ES": "1.2.840.10008.5.1.4.1.1.77.1.1",
    "USM": "1.2.840.10008.5.1.4.1.1.3.1",
}


def require_libraries() -> None:
    """Skip a module where pydicom or highdicom is missing."""
    for library in ("pydicom", "highdicom"):
        pytest.importorskip(library, reason=f'{library} is not installed; pip install "medssm-monai[dicom]"')


def series_of(place: Path) -> Series:
    """The one series of a folder or a file."""
    found = find_series(place)
    assert len(found.series) == 1
    return found.series[0]


def volume_of(series: Series) -> MetaTensor:
    """A volume as :class:`~medssm_monai.data.readers.series_files.SeriesFiles` describes it, by pydicom's pixels."""
    import pydicom

    pixels = np.concatenate([np.atleast_3d(pydicom.dcmread(file).pixel_array.T).T for file in series.files])
    chosen = pixels if series.frames is None else pixels[list(series.frames)]
    affine = np.asarray(series.affine, dtype=np.float64)
    return MetaTensor(torch.from_numpy(chosen.T[None].astype(np.float32)), meta={"file_affine": affine})


def image(kind: str, pixels: np.ndarray, number: int = 1, study: str = "", series: str = "", **more: Any) -> Any:
    """A data set with a patient, of an array ``(rows, columns[, 3])`` or, with ``NumberOfFrames``, more."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CLASSES[kind], generate_uid()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName, made.PatientID, made.PatientBirthDate = "Müller^Anna", "ID-4711", "19700102"
    made.PatientSex, made.PatientAge, made.StudyID, made.AccessionNumber = "F", "054Y", "S1", "ACC-99"
    made.StudyDate, made.StudyTime, made.ReferringPhysicianName = "20240304", "101112", "House^Gregory"
    made.StudyDescription, made.InstitutionName = "Check", "Saint Nowhere"
    made.ImageComments, made.PatientComments = "odd free text of nobody", "comment of nobody"
    made.add(pydicom.DataElement(0x00090010, "LO", "NOBODYS CREATOR"))
    made.add(pydicom.DataElement(0x00091001, "LO", "private of nobody"))
    made.StudyInstanceUID, made.SeriesInstanceUID = study or generate_uid(), series or generate_uid()
    made.SeriesNumber, made.InstanceNumber = 3, number
    made.Modality = {"EMR": "MR", "USM": "US"}.get(kind, kind)
    made.Manufacturer, made.ManufacturerModelName = "Maker", "Scanner 1"
    color = pixels.ndim > 2 and pixels.shape[-1] == 3
    made.Rows, made.Columns = pixels.shape[-3:-1] if color else pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = (3, "RGB") if color else (1, "MONOCHROME2")
    if color:
        made.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    for keyword, value in more.items():
        setattr(made, keyword, value)
    made.PixelData = pixels.tobytes()
    return made


def save(made: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def turned(degrees: float) -> np.ndarray:
    """Row and column directions, turned about two axes."""
    a = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return (about_x @ about_z)[:, :2].T


def slices(
    folder: Path,
    orientation: np.ndarray,
    kind: str = "MR",
    size: tuple[int, int, int] = (5, 12, 9),
    reverse: bool = False,
    spacing: tuple[float, float, float] = (3.0, 0.8, 1.25),
    study: str = "",
) -> list[Path]:
    """A series of single-frame slices with values from 1, all different; files named against or along the normal.

    Args:
        orientation: ``(2, 3)``, directions of rows and columns.
        size: slices, rows, columns.
        spacing: between slices, rows and columns, mm.
    """
    from pydicom.uid import generate_uid

    study, series, frame_of_reference = study or generate_uid(), generate_uid(), generate_uid()
    normal = np.cross(orientation[0], orientation[1])
    values = np.arange(1, 1 + int(np.prod(size)), dtype=np.uint16).reshape(size)
    paths = []
    for number in range(size[0]):
        step = size[0] - 1 - number if reverse else number
        more: dict[str, Any] = {
            "ImagePositionPatient": [f"{v:.6f}" for v in np.array([-20, 15, 7]) + normal * spacing[0] * step],
            "ImageOrientationPatient": [f"{v:.8f}" for v in orientation.ravel()],
            "PixelSpacing": [str(spacing[1]), str(spacing[2])],
            "SliceThickness": str(spacing[0]),
            "FrameOfReferenceUID": frame_of_reference,
            "PositionReferenceIndicator": "",
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER" if kind == "MR" else "AXIAL"],
        }
        if kind == "CT":
            more |= {"RescaleIntercept": "-1024", "RescaleSlope": "1", "KVP": "120"}
        else:
            more |= {"ScanningSequence": "SE", "SequenceVariant": "NONE", "ScanOptions": "", "MRAcquisitionType": "2D"}
            more |= {"EchoTime": "10", "EchoTrainLength": "1", "RepetitionTime": "500"}
        made = image(kind, values[step], number + 1, study, series, **more)
        paths.append(save(made, folder / f"slice_{number:02d}.dcm"))
    return paths


def frames(folder: Path, orientation: np.ndarray, size: tuple[int, int, int] = (4, 10, 7), stacks: int = 1) -> Path:
    """The same as one Enhanced MR image; the frames run against the normal; further stacks are of a later time."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    values = np.arange(1, 1 + stacks * int(np.prod(size)), dtype=np.uint16).reshape(stacks * size[0], *size[1:])
    normal = np.cross(orientation[0], orientation[1])
    shared, groups = Dataset(), []
    measures, placed = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.8", "1.25"], "2"
    placed.ImageOrientationPatient = [f"{v:.8f}" for v in orientation.ravel()]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [placed]
    for number in range(len(values)):
        stack, place = divmod(number, size[0])
        group, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{v:.6f}" for v in np.array([3, 2, 1]) - normal * 2.0 * place]
        content.TemporalPositionIndex = stack + 1
        content.StackID, content.InStackPositionNumber, content.FrameComments = "1", place + 1, "frame of nobody"
        content.DimensionIndexValues = [1, place + 1]
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        groups.append(group)
    made = image(
        "EMR",
        values,
        NumberOfFrames=len(values),
        FrameOfReferenceUID=generate_uid(),
        PositionReferenceIndicator="",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=groups,
    )
    return save(made, folder / "enhanced.dcm")


def problems(path: Path) -> list[str]:
    """Errors that ``dciodvfy`` finds in a file; that dcmtk reads it, too."""
    for program in ("dciodvfy", "dcmdump"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; files are not checked against the standard")
    subprocess.run(["dcmdump", "-q", str(path)], check=True, capture_output=True)
    ran = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (ran.stdout + ran.stderr).splitlines()
    return [line for line in lines if line.startswith("Error")]
