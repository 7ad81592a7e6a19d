"""Inference tasks, one per kind of bundle."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from ...data.files import RASTER
from ..predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
from ..predictor import Predictor
from .errors import BAD_INPUT, NO_MODEL, NOT_FOUND, answered
from .formats import image_kind, split_name
from .served import ServedModel

__all__ = ["BundleInfer", "ClassificationInfer", "FusionInfer", "SegmentationInfer", "infer_task"]

logger = logging.getLogger(__name__)


class BundleInfer(InferTask):
    """What the tasks share: the predictor, its errors as answers, and the time taken.

    Args:
        model: the bundle.
    """

    type_of_task = InferType.OTHERS

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        super().__init__(self.type_of_task, None, 2, f"{model.name}: {self.type_of_task.value}")

    def info(self) -> dict[str, Any]:
        """Labels, dimension and weights as they are now."""
        predictor = self.model.predictor()
        self.labels = {name: number for number, name in enumerate(predictor.task.class_names, start=self.first_label)}
        self.dimension = int(predictor.settings.get("spatial_dims", 2))
        return super().info()

    first_label = 1  # 0 is the background

    def config(self) -> dict[str, Any]:
        weights = self.model.weights
        return {"weights": weights.name if weights else "none: train first"}

    def is_valid(self) -> bool:
        """True also without weights: a request then says what is missing."""
        return True

    def get_path(self, validate: bool = True) -> str | None:
        weights = self.model.weights
        return str(weights) if weights else None

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """File of the result, if it is an image, and the answer's params."""
        start = time.perf_counter()
        predictor = self.ready()
        source = self.source(request)
        with answered(BAD_INPUT, self.model.name):
            prediction = predictor.predict(source)
        file, answer = self.answer(prediction)
        seconds = round(time.perf_counter() - start, 3)
        return file, {**answer, "model": self.model.name, "latencies": {"total": seconds}}

    def ready(self) -> Predictor:
        """The predictor with its network built."""
        with answered(NO_MODEL, self.model.name):
            predictor = self.model.predictor()
            predictor.network  # noqa: B018  builds it, so that errors of the weights are told from those of the image
        return predictor

    def takes(self, image_id: str) -> bool:
        """Whether an image of the studies folder is one to ask this model about."""
        return True

    def source(self, request: Mapping[str, Any]) -> Any:
        """What the predictor takes."""
        return image_file(request.get("image"), "image")

    def answer(self, prediction: Any) -> tuple[str | None, dict[str, Any]]:
        raise NotImplementedError


class SegmentationInfer(BundleInfer):
    """Masks: 8-bit PNG (0 and 255) for pictures, NIfTI with shape and affine of the image for NIfTI and DICOM."""

    type_of_task = InferType.SEGMENTATION

    def answer(self, prediction: SegmentationPrediction) -> tuple[str, dict[str, Any]]:
        mask = prediction.mask
        return _saved(prediction), {
            "label_names": {name: 1 for name in prediction.class_names},
            "confidence": prediction.confidence,
            "threshold": prediction.threshold,
            "foreground_share": float(mask.mean()),
        }


class ClassificationInfer(BundleInfer):
    """Calibrated class probabilities; no image."""

    type_of_task = InferType.CLASSIFICATION
    first_label = 0

    def answer(self, prediction: ClassificationPrediction) -> tuple[None, dict[str, Any]]:
        scores = enumerate(prediction.by_class().items())
        return None, {
            "class": prediction.class_name,
            "confidence": prediction.confidence,
            "prediction": [{"idx": number, "label": name, "score": score} for number, (name, score) in scores],
        }


class FusionInfer(BundleInfer):
    """Fused images in the geometry of source A.

    The request's image is source A. Source B is the image id in the request's ``params``, ``{"image_b": ID}``, else the
    image whose id differs in its ending only (``case1_MRI`` and ``case1_CT`` for the sources ``MRI`` and ``CT``).
    """

    def takes(self, image_id: str) -> bool:
        """Source A, by the ending of its id."""
        return image_id.endswith(self.model.sources[0])

    def source(self, request: Mapping[str, Any]) -> tuple[str, str]:
        first = image_file(request.get("image"), "image")
        named = request.get("image_b")
        if named:
            return first, image_file(named, "image_b")
        path = Path(first)
        with answered(BAD_INPUT, self.model.name):
            wanted = self.model.partner(split_name(path.name)[0])
        found = sorted(
            file for file in path.parent.iterdir() if split_name(file.name)[0] == wanted and image_kind(file)
        )
        if not found:
            raise HTTPException(
                NOT_FOUND,
                f"{self.model.name}: no image {wanted!r} beside {path.name}, the second source of the fusion.",
            )
        return first, str(found[0])

    def answer(self, prediction: FusionPrediction) -> tuple[str, dict[str, Any]]:
        return _saved(prediction), {"label_names": {}, "value_range": [0, 1]}


TASKS = {"segmentation": SegmentationInfer, "classification": ClassificationInfer, "fusion": FusionInfer}


def infer_task(model: ServedModel) -> BundleInfer:
    """The task that fits the bundle's kind."""
    return TASKS[model.predictor().kind](model)


def image_file(image: Any, key: str) -> str:
    """Path of a request's image, which MONAI Label has looked up; an answer of 404 when it found none."""
    if not isinstance(image, str) or not image or not Path(image).exists():
        raise HTTPException(NOT_FOUND, f"{key}: no such image in the studies folder ({image or 'unknown id'}).")
    return image


def _saved(prediction: SegmentationPrediction | FusionPrediction) -> str:
    """A temporary file, which the server removes when it has been sent."""
    picture = prediction.meta.get("file_kind") == RASTER
    handle, path = tempfile.mkstemp(suffix=".png" if picture else ".nii.gz", prefix="medssm_label_")
    os.close(handle)
    try:
        return str(prediction.save(path))
    except BaseException:
        os.unlink(path)
        raise
