"""Segmentations as DICOM SEG objects: one segment for each class, on the pixels of the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..bundle.predictions import SegmentationPrediction
from ..data.studies.sort import header_plane
from .codes import Coded, SegmentCode, segment_codes
from .deidentify import Deidentifier
from .facts import ModelFacts
from .libraries import require_highdicom
from .planes import array_affine, planes_of, to_planes
from .sources import FUNCTIONAL, picture_of, share_groups, source_header, source_headers
from .writing import contributing, equipment, new_series, new_uid, save_object

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..data.studies.series import Series

__all__ = ["write"]

SERIES_NUMBER = 9701
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LONGEST_LABEL = 64  # characters: VR LO


def write(
    series: Series,
    prediction: SegmentationPrediction,
    output_dir: str | os.PathLike[str],
    about: ModelFacts,
    *,
    segments: Mapping[str, Any] | None = None,
    fractional: bool = False,
    others: Sequence[Series] = (),
    deidentify: Deidentifier | None = None,
) -> list[Path]:
    """Write one SEG object.

    Pictures without a place in space (photographs, endoscopy, projections) get a segmentation without a frame of
    reference too, of the same rows and columns; viewers lay it over the picture that it refers to.

    Args:
        series: of the volume or the picture; where a volume has its channels in several series, the first of them.
        prediction: what was predicted for it.
        output_dir: folder of the file.
        about: the model.
        segments: codes of the classes (:func:`~.codes.segment_codes`).
        fractional: probabilities in steps of 1/255 instead of masks.
        others: further series that the network saw.
        deidentify: takes the patient out.

    Returns:
        the file.

    Raises:
        ImportError: highdicom is not installed.
        ValueError: a prediction that does not lie on the pixels of the series, or wrong ``segments``.
    """
    highdicom = require_highdicom()
    codes = segment_codes(prediction.labels.names, segments)
    values = _values(prediction, fractional)  # (*spatial, K)
    headers, frames, picture = _placed(series, prediction, values, deidentify)
    further = [header for other in others for header in source_headers(other.instances, deidentify)]
    content = {"content_label": "SEGMENTATION", "content_description": about.series("segmentation")}
    made = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=frames,
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        segment_descriptions=[
            _description(number, name, codes[name], color, about)
            for number, (name, color) in enumerate(
                zip(prediction.labels.names, prediction.labels.colors, strict=True), start=1
            )
        ],
        further_source_images=further or None,
        omit_empty_frames=bool(frames.max() * 255.0 > 0.5),  # an object of no frames at all cannot be made
        contributing_equipment=contributing(about),
        **new_series(SERIES_NUMBER),
        **equipment(about, "segmentation"),
        **content,
    )
    if series.frames is not None and picture is None:
        _name_frames(made, series.frames)
    if picture is not None:
        _refer_to(made, picture, picture_of(series, prediction.source)[1])
    return [save_object(made, output_dir, "seg", deidentify)]


def _values(prediction: SegmentationPrediction, fractional: bool) -> np.ndarray:
    """``(*spatial, K)``: uint8 masks, or float32 probabilities, of the classes."""
    labels, probabilities = prediction.labels, np.asarray(prediction.probabilities, dtype=np.float32)
    if fractional:
        return np.moveaxis(probabilities[int(labels.softmax) :], 0, -1).clip(0, 1)
    masks = labels.masks(torch.from_numpy(probabilities), prediction.threshold)
    return np.moveaxis(masks.numpy().astype(np.uint8), 0, -1)


def _placed(
    series: Series,
    prediction: SegmentationPrediction,
    values: np.ndarray,
    deidentify: Deidentifier | None,
) -> tuple[list[Dataset], np.ndarray, Dataset | None]:
    """Headers of the source, ``(frames, rows, columns, K)`` on its pixels, and the header of a picture that has no
    place in space as it is."""
    if values.ndim == 4:
        if series.affine is None:
            raise ValueError("a volume cannot be written to a series of pictures; give the series it was read from.")
        return *_placed_volume(series, prediction, values, deidentify), None
    instance, frame = picture_of(series, prediction.source)
    header = source_header(instance.header, deidentify)
    size = int(header.Rows), int(header.Columns)
    if values.shape[:2] != size:
        raise ValueError(
            f"a prediction of {values.shape[0]} x {values.shape[1]} pixels does not fit its picture of "
            f"{size[0]} x {size[1]}; predict the picture itself."
        )
    if frame is None and _is_placed(header):
        return [header], values[None], None
    picture = source_header(instance.header, deidentify)
    _without_place(header)
    return [header], values[None], picture


def _placed_volume(
    series: Series, prediction: SegmentationPrediction, values: np.ndarray, deidentify: Deidentifier | None
) -> tuple[list[Dataset], np.ndarray]:
    """Headers of the source, and ``(frames, rows, columns, K)``; of an instance that has several frames the header as
    if it had those of the volume alone."""
    headers = source_headers(series.instances, deidentify)
    _complete(headers, float(np.linalg.norm(np.asarray(series.affine)[:3, 2])))
    if series.frames is None:
        return headers, to_planes(values, array_affine(series, prediction), planes_of(headers))
    share_groups(headers[0], series.frames)
    groups = headers[0].PerFrameFunctionalGroupsSequence
    headers[0].PerFrameFunctionalGroupsSequence = [groups[frame] for frame in series.frames]
    headers[0].NumberOfFrames = len(series.frames)
    return headers, to_planes(values, array_affine(series, prediction), planes_of(headers))


def _complete(headers: Sequence[Dataset], gap: float) -> None:
    """What a segmentation of slices has to state and images may lack: a frame of reference, here one that nothing else
    has, and the thickness of slices, here the distance between them (mm)."""
    from pydicom.valuerep import DS

    frame_of_reference, thickness = new_uid(), DS(gap, auto_format=True)
    for header in headers:
        if not header.get("FrameOfReferenceUID"):
            header.FrameOfReferenceUID = frame_of_reference
        groups = [header, *(item for name in FUNCTIONAL for item in header.get(name, []))]
        for measures in (item for group in groups for item in group.get("PixelMeasuresSequence", [])):
            if measures.get("SliceThickness") is None:
                measures.SliceThickness = thickness
        if "ImagePositionPatient" in header and header.get("SliceThickness") is None:
            header.SliceThickness = thickness


def _name_frames(made: Dataset, frames: Sequence[int]) -> None:
    """Let references to frames of a volume (from 1) name those (from 0) of the instance."""
    groups = made.PerFrameFunctionalGroupsSequence
    derivations = [item for group in groups for item in group.get("DerivationImageSequence", [])]
    sources = {id(source): source for item in derivations for source in item.SourceImageSequence}  # shared by segments
    for source in sources.values():
        if "ReferencedFrameNumber" in source:
            source.ReferencedFrameNumber = frames[int(source.ReferencedFrameNumber) - 1] + 1


def _is_placed(header: Dataset) -> bool:
    """Whether a single-frame picture says where in space it lies, and rightly."""
    thick = header.get("SliceThickness") is not None  # required of what has a place
    return "FrameOfReferenceUID" in header and thick and header_plane(header) is not None


def _without_place(header: Dataset) -> None:
    """Let a header say that it is one picture somewhere; of a class that every library knows."""
    header.SOPClassUID = SECONDARY_CAPTURE
    for keyword in (
        *("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
        *("FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient"),
    ):
        if keyword in header:
            delattr(header, keyword)


def _refer_to(made: Dataset, picture: Dataset, frame: int | None) -> None:
    """Let a segmentation without a place name the class of its picture, the frame, and which side is which."""
    made.PatientOrientation = picture.get("PatientOrientation")
    for item in made.iterall():
        if item.keyword == "ReferencedSOPClassUID" and item.value == SECONDARY_CAPTURE:
            item.value = picture.SOPClassUID
    if frame is not None:
        for group in made.PerFrameFunctionalGroupsSequence:
            for derivation in group.DerivationImageSequence:
                for source in derivation.SourceImageSequence:
                    source.ReferencedFrameNumber = frame


def _description(number: int, name: str, code: SegmentCode, color: Sequence[int], about: ModelFacts) -> Any:
    from highdicom.color import CIELabColor
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name=about.name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=about.bundle_version[:64],
        source=about.software[0],
        parameters={"weights": about.weights_sha256, "use": about.use},
    )
    described = SegmentDescription(
        segment_number=number,
        segment_label=name[:LONGEST_LABEL],
        segmented_property_category=_concept(code.category),
        segmented_property_type=_concept(code.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        anatomic_regions=None if code.anatomy is None else [_concept(code.anatomy)],
        display_color=CIELabColor.from_rgb(*color),
    )
    if code.side is not None:
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(code.side)]
    return described


def _concept(code: Coded) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)
