"""Fused images as DICOM: an image series of the source's own class where that is CT or MR, else Secondary Capture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle.predictions import FusionPrediction
from ..data.studies.sort import header_plane
from .deidentify import Deidentifier
from .facts import ModelFacts
from .libraries import require_highdicom
from .planes import PixelPlane, array_affine, planes_of, to_planes
from .secondary import require_clean_pixels, secondary_capture
from .sources import picture_of, share_groups, source_header, source_headers
from .writing import contributing, equipment, new_uid, reference, save_object

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..data.studies.series import Series

__all__ = ["write"]

SERIES_NUMBER = 9702
STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, MR = f"{STORAGE}2", f"{STORAGE}4"
SINGLE = {CT: CT, f"{STORAGE}2.1": CT, f"{STORAGE}2.2": CT, MR: MR, f"{STORAGE}4.1": MR, f"{STORAGE}4.4": MR}
"""Classes of CT and MR, and the one of single slices that stands for each."""
LARGEST = 65535  # stored value of 1.0


def write(
    series: Series,
    prediction: FusionPrediction,
    output_dir: str | os.PathLike[str],
    about: ModelFacts,
    *,
    others: Sequence[Series] = (),
    deidentify: Deidentifier | None = None,
) -> list[Path]:
    """Write a fused image as one series.

    Gray images of CT and MR keep class, frame of reference and place of source A, one instance for each slice; stored
    values are 0 to 65535, which the rescale slope turns into 0 to 1. Others are Secondary Capture images, color with 8
    bits.

    Args:
        series: of source A, in whose geometry the image is.
        prediction: the fused image.
        output_dir: folder of the files.
        about: the model.
        others: series of source B.
        deidentify: takes the patient out.

    Returns:
        the files, in the order of the slices.

    Raises:
        ImportError: highdicom is not installed.
        ValueError: an image that does not lie on the pixels of the series; a source with burned in annotation, to be
            written without the patient.
    """
    require_highdicom()
    further = [header for other in others for header in source_headers(other.instances, deidentify)]
    volume = prediction.image.ndim == 3 and series.spatial_dims == 3
    found = _slices(series, prediction, deidentify) if volume else [_picture(series, prediction, deidentify)]
    if deidentify is not None:
        require_clean_pixels([header for header, _, _, _ in found] + further)
    series_uid, description = new_uid(), _description(1 + len(others), about)
    frame_of_reference = found[0][0].get("FrameOfReferenceUID") or new_uid()
    made = []
    for number, (header, frame, plane, values) in enumerate(found, start=1):
        frames = [] if frame is None else [frame]
        stored, kind = _stored(values), SINGLE.get(str(header.SOPClassUID))
        if kind is None or plane is None or stored.ndim == 3:
            one = secondary_capture(
                *(stored, [header], about, "fused image", SERIES_NUMBER, frames, number, series_uid),
                same_pixels=True,
            )
            if stored.ndim == 2:
                _rescale(one)
        else:
            one = _slice(header, plane, stored, kind, about, series_uid, number, frame_of_reference)
        one.SourceImageSequence = [reference(header, frames), *map(reference, further)]
        one.DerivationDescription = description
        made.append(save_object(one, output_dir, "fused", deidentify))
    return made


def _description(count: int, about: ModelFacts) -> str:
    return f"fusion of {count} series by {about.name}; {about.use}; weights {about.weights_sha256}"[:1024]


Found = tuple["Dataset", int | None, PixelPlane | None, np.ndarray]


def _slices(series: Series, prediction: FusionPrediction, deidentify: Deidentifier | None) -> list[Found]:
    """Of each slice header, frame (from 1, where there are several), plane and values ``(rows, columns)``."""
    headers = source_headers(series.instances, deidentify)
    if series.frames is not None:
        share_groups(headers[0], series.frames)
    planes = planes_of(headers)
    chosen = list(series.frames) if series.frames is not None else list(range(len(planes)))
    affine = array_affine(series, prediction)
    cut = to_planes(prediction.image, affine, [planes[number] for number in chosen])
    if series.frames is None:
        return [(headers[n], None, planes[n], cut[n]) for n in chosen]
    return [(headers[0], frame + 1, planes[frame], values) for frame, values in zip(chosen, cut, strict=True)]


def _picture(series: Series, prediction: FusionPrediction, deidentify: Deidentifier | None) -> Found:
    instance, frame = picture_of(series, prediction.source)
    header = source_header(instance.header, deidentify)
    size = int(header.Rows), int(header.Columns)
    if prediction.image.shape[:2] != size:
        raise ValueError(
            f"a fused image of {prediction.image.shape} does not fit its source of {size[0]} x {size[1]} pixels; fuse "
            "the picture itself."
        )
    placed = frame is None and header_plane(header) is not None
    return header, frame, planes_of([header])[0] if placed else None, prediction.image


def _stored(values: np.ndarray) -> np.ndarray:
    """uint16 of gray, uint8 of color, of values from 0 to 1."""
    largest, kind = (255, np.uint8) if values.ndim == 3 else (LARGEST, np.uint16)
    return np.rint(np.clip(values, 0, 1).astype(np.float64) * largest).astype(kind)


def _rescale(made: Dataset) -> None:
    from pydicom.valuerep import DS

    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "0", DS(1 / LARGEST, auto_format=True), "US"
    made.WindowCenter, made.WindowWidth = "0.5", "1"


def _slice(
    header: Dataset,
    plane: PixelPlane,
    stored: np.ndarray,
    kind: str,
    about: ModelFacts,
    series_uid: str,
    number: int,
    frame_of_reference: str,
) -> Any:
    """A single-frame CT or MR image in the place of its source."""
    from highdicom.base import SOPClass
    from pydicom.valuerep import DS

    made: Any = SOPClass(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=series_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=new_uid(),
        sop_class_uid=kind,
        instance_number=number,
        modality="CT" if kind == CT else "MR",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        specific_character_set="ISO_IR 192",
        **equipment(about, "fused image"),
    )
    made.copy_patient_and_study_information(header)
    made._add_contributing_equipment(contributing(about), header)
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = frame_of_reference, ""
    made.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if kind == CT else "OTHER"]
    made.AcquisitionNumber, made.Laterality = None, header.get("Laterality")
    made.PatientPosition = header.get("PatientPosition") or None
    made.ImagePositionPatient = [DS(float(v), auto_format=True) for v in plane.position]
    steps = [np.linalg.norm(step) for step in (plane.along_column, plane.along_row)]
    directions = np.concatenate([plane.along_row / steps[1], plane.along_column / steps[0]])
    made.ImageOrientationPatient = [DS(float(v), auto_format=True) for v in directions]
    made.PixelSpacing = [DS(float(step), auto_format=True) for step in steps]
    made.SliceThickness = header.get("SliceThickness")
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    _rescale(made)
    if kind == CT:
        made.KVP = None
    else:
        made.ScanningSequence, made.SequenceVariant, made.ScanOptions = "RM", "NONE", None
        made.MRAcquisitionType, made.RepetitionTime, made.EchoTime, made.EchoTrainLength = None, None, None, None
    made.LossyImageCompression = header.get("LossyImageCompression") or "00"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if made.LossyImageCompression == "01" and header.get(keyword) is not None:
            setattr(made, keyword, header[keyword].value)
    made.PixelData = stored.astype("<u2").tobytes()
    return made
