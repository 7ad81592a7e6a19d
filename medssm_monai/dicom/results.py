"""The objects that are written about one prediction, by its kind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    first, others = job.series[0], job.series[1:]
    wanted, segments = options.of(predictor.kind), options.segments
    if segments is None:
        segments = predictor.overrides.get("segments", predictor.settings.get("segments"))
    if isinstance(prediction, FusionPrediction):
        return derived.write(first, prediction, folder, about, others=others, deidentify=options.deidentify)
    files: list[Path] = []
    if isinstance(prediction, SegmentationPrediction):
        seg = None
        if "segmentation" in wanted:
            (seg,) = segmentation.write(
                first,
                prediction,
                folder,
                about,
                segments=segments,
                fractional=options.fractional,
                others=others,
                deidentify=options.deidentify,
            )
            files.append(seg)
        if "report" in wanted:
            files += report.write(
                first,
                prediction,
                folder,
                about,
                segmentation=seg,
                segments=segments,
                deidentify=options.deidentify,
            )
        return files
    if "report" in wanted:
        files += report.write(first, prediction, folder, about, segments=segments, deidentify=options.deidentify)
    if "picture" in wanted and job.pictures:
        shown = predictor.explain(source)
        files += key_picture.write(
            first,
            np.asarray(shown.overlay, dtype=np.uint8),
            folder,
            about,
            what=f"explanation of {prediction.class_name}",
            source=job.pictures[0],
            deidentify=options.deidentify,
        )
    return files


def answer_of(prediction: Any) -> str:
    """A prediction in a few words."""
    if isinstance(prediction, ClassificationPrediction):
        return f"{prediction.class_name} ({prediction.confidence:.3f})"
    if isinstance(prediction, SegmentationPrediction):
        masks = [(name, 100 * float(prediction.class_mask(name).mean())) for name in prediction.labels.names]
        more = f" and {len(masks) - SHOWN} more" if len(masks) > SHOWN else ""
        return ", ".join(f"{name} {share:.1f} %" for name, share in masks[:SHOWN]) + more
    return "fused"
