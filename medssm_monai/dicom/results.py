"""The objects that are written about one prediction, by its kind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle.predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
from ..data.studies.headers import is_uid
from . import derived, key_picture, report, segmentation
from .deidentify import Deidentifier
from .facts import ModelFacts
from .jobs import Job

if TYPE_CHECKING:
    from ..bundle.predictor import Predictor

__all__ = ["OBJECTS", "ResultOptions", "Source", "answer_of", "predict_job", "require_identifiers", "write_results"]

OBJECTS = {
    "segmentation": ("segmentation", "report"),
    "classification": ("report", "picture"),
    "fusion": ("image",),
}
"""Kind of a bundle -> what is written about each of its predictions, all of it by default."""
IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
SHOWN = 3


@dataclass(frozen=True)
class ResultOptions:
    """How results are written.

    Attributes:
        objects: which of :data:`OBJECTS`; empty writes all of the kind.
        segments: codes of classes (:func:`~.codes.segment_codes`); None takes those of the weights' settings.
        fractional: segmentations as probabilities.
        deidentify: takes the patient out of all that is written.
    """

    objects: tuple[str, ...] = ()
    segments: Mapping[str, Any] | None = None
    fractional: bool = False
    deidentify: Deidentifier | None = None

    def of(self, kind: str) -> tuple[str, ...]:
        """What is written about predictions of a kind.

        Raises:
            ValueError: asked for what that kind does not have.
        """
        unknown = [name for name in self.objects if name not in OBJECTS[kind]]
        if unknown:
            raise ValueError(f"a {kind} has no {', '.join(unknown)}; it has {', '.join(OBJECTS[kind])}.")
        return self.objects or OBJECTS[kind]


Source = Any


def predict_job(predictor: Predictor, job: Job) -> tuple[Source, Any]:
    """What the predictor was given, and its prediction."""
    parts: Sequence[Any] = job.pictures or [series.source for series in job.series]
    source = parts[0] if len(parts) == 1 else tuple(parts)
    return source, predictor.predict(source)


def require_identifiers(job: Job) -> None:
    """Refuse images that results cannot refer to.

    Raises:
        ValueError: their identifiers, or that of their class, are missing or none.
    """
    wrong = {
        keyword: "empty" if not str(header.get(keyword) or "").strip() else "no UIDs (numbers with points between them)"
        for _, instances, _ in job.images
        for header in (instance.header for instance in instances)
        for keyword in IDENTIFIERS
        if not is_uid(str(header.get(keyword) or "").strip())
    }
    if wrong:
        raise ValueError(
            "the images do not say which study, series and instance they are ("
            + ", ".join(f"{keyword}: {what}" for keyword, what in wrong.items())
            + "): no result can refer to them; export them again."
        )


def write_results(
    predictor: Predictor,
    job: Job,
    source: Source,
    prediction: Any,
    folder: str | os.PathLike[str],
    about: ModelFacts,
    options: ResultOptions,
) -> list[Path]:
    """Write the objects of one prediction; returns their files, JSON files with them."""
    if isinstance(prediction, FusionPrediction):
        others = job.series[1:]
        return derived.write(job.series[0], prediction, folder, about, others=others, deidentify=options.deidentify)
    if options.segments is None:
        segments = predictor.overrides.get("segments", predictor.settings.get("segments"))
        options = replace(options, segments=segments)
    if isinstance(prediction, SegmentationPrediction):
        return _write_segmentation(job, prediction, folder, about, options)
    files: list[Path] = []
    if "report" in options.of("classification"):
        files += _write_report(job, prediction, folder, about, options)
    if "picture" in options.of("classification") and job.pictures:
        files += key_picture.write(
            job.series[0],
            np.asarray(predictor.explain(source).overlay, dtype=np.uint8),
            folder,
            about,
            what=f"explanation of {prediction.class_name}",
            source=job.pictures[0],
            deidentify=options.deidentify,
        )
    return files


Folder = str | os.PathLike[str]


def _write_segmentation(
    job: Job, prediction: SegmentationPrediction, folder: Folder, about: ModelFacts, options: ResultOptions
) -> list[Path]:
    files: list[Path] = []
    if "segmentation" in options.of("segmentation"):
        files = segmentation.write(
            job.series[0],
            prediction,
            folder,
            about,
            segments=options.segments,
            fractional=options.fractional,
            others=job.series[1:],
            deidentify=options.deidentify,
        )
    if "report" in options.of("segmentation"):
        files = files + _write_report(job, prediction, folder, about, options, files[0] if files else None)
    return files


def _write_report(
    job: Job,
    prediction: ClassificationPrediction | SegmentationPrediction,
    folder: Folder,
    about: ModelFacts,
    options: ResultOptions,
    seg: Path | None = None,
) -> list[Path]:
    names: Mapping[str, Any] = {"segments": options.segments, "deidentify": options.deidentify}
    return report.write(job.series[0], prediction, folder, about, segmentation=seg, **names)


def answer_of(prediction: Any) -> str:
    """A prediction in a few words."""
    if isinstance(prediction, ClassificationPrediction):
        return f"{prediction.class_name} ({prediction.confidence:.3f})"
    if isinstance(prediction, SegmentationPrediction):
        masks = [(name, 100 * float(prediction.class_mask(name).mean())) for name in prediction.labels.names]
        more = f" and {len(masks) - SHOWN} more" if len(masks) > SHOWN else ""
        return ", ".join(f"{name} {share:.1f} %" for name, share in masks[:SHOWN]) + more
    return "fused"
