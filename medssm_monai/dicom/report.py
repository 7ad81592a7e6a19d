"""Structured reports (TID 1500): what a network says about images, in codes and numbers; and the same as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..bundle.predictions import ClassificationPrediction, SegmentationPrediction
from ..data.readers.channels import voxel_size
from ..data.studies.spacing import pixel_size
from ..utils.files import replace_file
from .codes import Coded, segment_codes
from .deidentify import Deidentifier
from .facts import MANUFACTURER, ModelFacts
from .libraries import require_highdicom
from .planes import array_affine
from .sources import picture_of, source_header, source_headers
from .writing import contributing, equipment, new_series, new_uid, save_object

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..data.studies.series import Series

__all__ = ["write"]

SERIES_NUMBER = 9703
SCHEME = "99MEDSSM"
MM3_OF_ML = 1000.0
MM2 = ("mm2", "UCUM", "square millimeter")
ML = ("ml", "UCUM", "milliliter")
PIXELS = ("{pixels}", "UCUM", "pixels")
NO_UNITS = ("1", "UCUM", "no units")
NOT_IN_THE_BODY = ("ImagerPixelSpacing", "NominalScannedPixelSpacing")  # of a detector, or a film
VOLUME, AREA = ("118565006", "SCT", "Volume"), ("42798000", "SCT", "Area")
PROBABILITY = ("122157", "DCM", "Probability")
PREDICTED = ("PREDICTED", SCHEME, "Most probable class")
IN_SET = ("INSET", SCHEME, "In the set of classes that the image may have")
YES, NO = ("373066001", "SCT", "Yes"), ("373067005", "SCT", "No")
CONTROLLED = {
    VOLUME: ("CONTROLLEDVOLUME", SCHEME, "Volume of the mask that misses little"),
    AREA: ("CONTROLLEDAREA", SCHEME, "Area of the mask that misses little"),
}
CALIBRATED = ("CALIBRATED", SCHEME, "What the calibration promises")
EVALUATIONS = ("C0034375", "UMLS", "Qualitative Evaluations")  # the container of TID 1500


@dataclass(frozen=True)
class _Group:
    """What is measured of one class: its code, the number, and the segment where there is one."""

    name: str
    finding: Coded
    category: Coded | None
    concept: Coded
    value: float
    unit: Coded
    segment: int | None = None
    in_set: bool | None = None  # of a class; None without calibrated prediction sets
    controlled: float | None = None  # the same measure of the mask whose risk is controlled


def write(
    series: Series,
    prediction: ClassificationPrediction | SegmentationPrediction,
    output_dir: str | os.PathLike[str],
    about: ModelFacts,
    *,
    segmentation: str | os.PathLike[str] | None = None,
    segments: Mapping[str, Any] | None = None,
    deidentify: Deidentifier | None = None,
) -> list[Path]:
    """Write a Comprehensive 3D SR and a JSON file that says the same, without patient and study but their identifiers.

    A classification gives the probability of each class, a segmentation the volume (ml) of each class, of pictures the
    area (mm², in pixels where nothing states their size in the body). Where a calibration is stored with the weights,
    each class is in the prediction set or not, a segmentation also has the size of the mask that misses little, and a
    text says what that promises.

    Args:
        series: of the images.
        prediction: about the volume, or one picture, of the series.
        output_dir: folder of the files.
        about: the model.
        segmentation: SEG object of the same prediction (:mod:`.segmentation`), whose segments the report refers to.
        segments: codes of the classes (:func:`~.codes.segment_codes`); of a classification those of its classes, where
            they are known.
        deidentify: takes the patient out; as for the SEG object.

    Returns:
        the report and the JSON file.

    Raises:
        ImportError: highdicom is not installed.
        ValueError: a prediction of no image of the series, a SEG object of another study, or wrong ``segments``.
    """
    require_highdicom()
    headers, frame = _sources(series, prediction, deidentify)
    if isinstance(prediction, ClassificationPrediction):
        groups = _of_classification(prediction, segments)
    else:
        groups = _of_segmentation(series, prediction, segments)
    seg = None if segmentation is None else _segmentation(segmentation, headers[0])
    made = _report(headers, frame, prediction, groups, seg, about)
    path = save_object(made, output_dir, "report", deidentify)
    plain = path.with_suffix(".json")
    content = _plain(made, headers, frame, prediction, groups, seg, about)
    with replace_file(plain) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    return [path, plain]


def _sources(
    series: Series, prediction: ClassificationPrediction | SegmentationPrediction, deidentify: Deidentifier | None
) -> tuple[list[Dataset], int | None]:
    """Headers of the images, and the frame of one picture that has several, from 1."""
    volume = series.spatial_dims == 3
    if isinstance(prediction, SegmentationPrediction) and (prediction.probabilities.ndim == 4) != volume:
        raise ValueError("the prediction and the series are not both of volumes, or both of pictures.")
    if volume:
        return source_headers(series.instances, deidentify), None
    instance, frame = picture_of(series, prediction.source)
    return [source_header(instance.header, deidentify)], frame


def _own_code(name: str) -> Coded:
    """A private code: a class of the model has no other meaning than its name."""
    return sha256(name.encode()).hexdigest()[:12].upper(), SCHEME, name[:64]


def _of_classification(prediction: ClassificationPrediction, segments: Mapping[str, Any] | None) -> list[_Group]:
    codes = segment_codes([name for name in prediction.class_names if name in (segments or {})], segments)
    members = prediction.prediction_set
    return [
        _Group(
            name,
            codes[name].type if name in codes else _own_code(name),
            None,
            PROBABILITY,
            float(p),
            NO_UNITS,
            in_set=None if members is None else name in members,
        )
        for name, p in zip(prediction.class_names, prediction.probabilities, strict=True)
    ]


def _of_segmentation(
    series: Series, prediction: SegmentationPrediction, segments: Mapping[str, Any] | None
) -> list[_Group]:
    labels, codes = prediction.labels, segment_codes(prediction.labels.names, segments)
    masks = labels.masks(torch.from_numpy(np.asarray(prediction.probabilities)), prediction.threshold)
    counts = [int(mask.sum()) for mask in masks]
    concept, unit, size = AREA, PIXELS, 1.0
    if masks.ndim == 4:
        concept, unit, size = VOLUME, ML, float(voxel_size(array_affine(series, prediction)).prod()) / MM3_OF_ML
    else:
        stated = pixel_size(picture_of(series, prediction.source)[0].header)
        if stated is not None and stated.source not in NOT_IN_THE_BODY:
            unit, size = MM2, stated.mm[0] * stated.mm[1]
    marked = {name: mask["pixels"] * size for name, mask in (prediction.calibrated or {"masks": {}})["masks"].items()}
    return [
        _Group(
            name, codes[name].type, codes[name].category, concept, count * size, unit, number, None, marked.get(name)
        )
        for number, (name, count) in enumerate(zip(labels.names, counts, strict=True), start=1)
    ]


def _segmentation(path: str | os.PathLike[str], source: Dataset) -> Dataset:
    import pydicom

    seg = pydicom.dcmread(path, stop_before_pixels=True)
    if seg.get("Modality") != "SEG" or seg.StudyInstanceUID != source.StudyInstanceUID:
        raise ValueError(
            f"{Path(path).name} is no segmentation of the study of these images; give the one that was written for "
            "them, with the same de-identification."
        )
    return seg


def _report(
    headers: list[Dataset],
    frame: int | None,
    prediction: ClassificationPrediction | SegmentationPrediction,
    groups: Sequence[_Group],
    seg: Dataset | None,
    about: ModelFacts,
) -> Any:
    from highdicom import sr
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.sr.codedict import codes

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=new_uid(),
        name=about.name[:64],
        manufacturer_name=MANUFACTURER,
        model_name=about.software[1],
        serial_number=about.serial,
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )
    items = [_measured(group, headers, frame, prediction, seg, about) for group in groups]
    content = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=items,
        title=codes.DCM.ImagingMeasurementReport,
    )
    if prediction.calibrated is not None:
        content[0].ContentSequence.append(_promise(prediction.calibrated["meaning"]))
    made: Any = sr.Comprehensive3DSR(
        evidence=headers if seg is None else [*headers, seg],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set="ISO_IR 192",
        contributing_equipment=contributing(about),
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=SCHEME, name="classes of models of medssm-monai", responsible_organization=MANUFACTURER
            )
        ],
        **new_series(SERIES_NUMBER),
        **equipment(about, "report"),
    )
    return made


def _promise(meaning: str) -> Any:
    """A text of the report's qualitative evaluations (TID 1500)."""
    from highdicom import sr

    contains = sr.RelationshipTypeValues.CONTAINS
    item = sr.ContainerContentItem(name=_concept(EVALUATIONS), relationship_type=contains)
    item.ContentSequence = sr.ContentSequence(
        [sr.TextContentItem(name=_concept(CALIBRATED), value=meaning, relationship_type=contains)]
    )
    return item


def _measured(
    group: _Group,
    headers: Sequence[Dataset],
    frame: int | None,
    prediction: ClassificationPrediction | SegmentationPrediction,
    seg: Dataset | None,
    about: ModelFacts,
) -> Any:
    """A measurement group of one class."""
    from highdicom import sr

    values = {group.concept: group.value}
    if group.controlled is not None:
        values[CONTROLLED[group.concept]] = group.controlled
    measurements = [
        sr.Measurement(name=_concept(concept), value=float(f"{value:.8g}"), unit=_concept(group.unit))
        for concept, value in values.items()
    ]
    facts: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=new_uid(), identifier=group.name[:64]),
        "finding_type": _concept(group.finding),
        "finding_category": None if group.category is None else _concept(group.category),
        "algorithm_id": sr.AlgorithmIdentification(
            name=about.name,
            version=about.bundle_version,
            parameters=[f"{name}: {value}" for name, value in about.described.items()],
            manufacturer=MANUFACTURER,
        ),
        "measurements": measurements,
    }
    frames = None if frame is None else [frame]
    numbers = [] if seg is None else _frames_of(seg, group.segment)
    if seg is not None and numbers and group.segment is not None:
        if len(headers) > 1 or group.concept == VOLUME:
            of_series = sr.SourceSeriesForSegmentation(referenced_series_instance_uid=headers[0].SeriesInstanceUID)
            referenced = sr.ReferencedSegment(
                seg.SOPClassUID, seg.SOPInstanceUID, group.segment, source_series=of_series
            )
            return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=referenced, **facts)
        of_image = sr.SourceImageForSegmentation(headers[0].SOPClassUID, headers[0].SOPInstanceUID, frames)
        planar = sr.ReferencedSegmentationFrame(
            seg.SOPClassUID, seg.SOPInstanceUID, numbers[0], group.segment, source_image=of_image
        )
        del planar[0].ReferencedSOPSequence[0].ReferencedSegmentNumber  # a frame is of one segment (PS3.3 C.17.3)
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=planar, **facts)
    said: dict[Coded, Coded] = {}
    if isinstance(prediction, ClassificationPrediction) and group.name == prediction.class_name:
        said[PREDICTED] = group.finding
    if group.in_set is not None:
        said[IN_SET] = YES if group.in_set else NO
    if said:
        facts["qualitative_evaluations"] = [
            sr.QualitativeEvaluation(name=_concept(name), value=_concept(value)) for name, value in said.items()
        ]
    images = [
        sr.SourceImageForMeasurementGroup(
            referenced_sop_class_uid=header.SOPClassUID,
            referenced_sop_instance_uid=header.SOPInstanceUID,
            referenced_frame_numbers=frames,
        )
        for header in headers
    ]
    return sr.MeasurementsAndQualitativeEvaluations(source_images=images, **facts)


def _frames_of(seg: Dataset, segment: int | None) -> list[int]:
    """Frames (from 1) of a segment; it may stand with the shared groups where it is the only one."""
    shared = seg.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    found = []
    for number, item in enumerate(seg.PerFrameFunctionalGroupsSequence, start=1):
        own = item.get("SegmentIdentificationSequence") or shared
        if own and own[0].ReferencedSegmentNumber == segment:
            found.append(number)
    return found


def _concept(code: Coded) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def _plain(
    made: Dataset,
    headers: Sequence[Dataset],
    frame: int | None,
    prediction: ClassificationPrediction | SegmentationPrediction,
    groups: Sequence[_Group],
    seg: Dataset | None,
    about: ModelFacts,
) -> dict[str, Any]:
    """What the report says, for programs."""
    measured = [
        {
            "class": group.name,
            "code": dict(zip(("value", "scheme", "meaning"), group.finding, strict=True)),
            group.concept[2].lower(): group.value,
            "unit": group.unit[0],
            **({} if seg is None or group.segment is None else {"segment": group.segment}),
            **(
                {} if group.controlled is None else {f"{group.concept[2].lower()} that misses little": group.controlled}
            ),
        }
        for group in groups
    ]
    found: dict[str, Any] = {
        "report": str(made.SOPInstanceUID),
        "study": str(headers[0].StudyInstanceUID),
        "series": str(headers[0].SeriesInstanceUID),
        "images": [str(header.SOPInstanceUID) for header in headers],
    }
    if frame is not None:
        found["frame"] = frame
    if seg is not None:
        found["segmentation"] = str(seg.SOPInstanceUID)
    if isinstance(prediction, ClassificationPrediction):
        found["most probable class"] = prediction.class_name
    return {
        **found,
        "measurements": measured,
        **({} if prediction.calibrated is None else {"calibrated": prediction.calibrated}),
        "unlike training": list(prediction.unlike_training),
        "model": about.described,
    }
