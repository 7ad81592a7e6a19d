"""Inference tasks, one per kind of bundle."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from ...bundle import describe_weights
from ...bundle.predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
from ...bundle.predictor import Predictor
from ...bundle.tasks import SegmentationTask
from ...data.readers.files import RASTER
from ...utils.shown_names import shown_text
from .audit import note
from .channels import channel_files, channel_number
from .errors import BAD_INPUT, NO_MODEL, NOT_FOUND, as_http_error
from .formats import NRRD, image_kind, is_volume, provide, split_name
from .results import suffix_of, write_as
from .served import ServedModel

__all__ = ["BundleInfer", "ClassificationInfer", "FusionInfer", "SegmentationInfer", "infer_task"]

logger = logging.getLogger(__name__)


class BundleInfer(InferTask):
    """What the tasks share: the predictor, its errors as answers, and the time taken.

    Args:
        model: the bundle.
    """

    type_of_task = InferType.OTHERS
    kind = ""  # as the predictor says

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        super().__init__(self.type_of_task, None, 2, f"{model.name}: {self.type_of_task.value}")

    def info(self) -> dict[str, Any]:
        """Labels, dimension and weights as they are now."""
        predictor = self.model.predictor()
        self.labels = self.numbers(predictor)
        self.dimension = int(predictor.settings.get("spatial_dims", 2))
        return super().info()

    def numbers(self, predictor: Predictor) -> dict[str, int]:
        """Classes, and the number that each has in results."""
        return {name: number for number, name in enumerate(predictor.task.class_names)}

    def config(self) -> dict[str, Any]:
        weights = self.model.weights
        return {"weights": shown_text(describe_weights(weights, str(weights))) if weights else "none: train first"}

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
        note(weights=self.model.weights_sha256)
        source = self.source(request)
        with as_http_error(BAD_INPUT, self.model.name), readable(source) as files:
            prediction = predictor.predict(files)
            if time.monotonic() > request.get("_deadline", float("inf")):
                raise TimeoutError("nobody waits for this result any more")
            file, answer = self.answer(prediction, request)
        seconds = round(time.perf_counter() - start, 3)
        said = {"model": self.model.name, "weights": shown_text(prediction.weights), "latencies": {"total": seconds}}
        domain = {"trained_for": prediction.trained_for, "unlike_training": list(prediction.unlike_training)}
        promised = {} if prediction.calibrated is None else {"calibrated": prediction.calibrated}
        return file, {**answer, **promised, **said, **domain}

    def ready(self) -> Predictor:
        """The predictor with its network built."""
        with as_http_error(NO_MODEL, self.model.name):
            predictor = self.model.predictor()
            predictor.network  # noqa: B018  builds it, so that errors of the weights are told from those of the image
        return predictor

    def takes(self, image_id: str, file: Path) -> bool:
        """Whether an image of the studies folder is one to ask this model about.

        Args:
            image_id: of the image.
            file: where it lies.
        """
        return True

    def source(self, request: Mapping[str, Any]) -> Any:
        """What the predictor takes."""
        return image_file(request.get("image"), "image")

    def answer(self, prediction: Any, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """File and params of the answer.

        Raises:
            ValueError: params of the request that do not fit this image.
        """
        raise NotImplementedError


class SegmentationInfer(BundleInfer):
    """Masks: 8-bit PNG (0 and 255) for pictures, NIfTI with shape and affine of the image for NIfTI and DICOM. Several
    classes: label maps, indexed PNG or NIfTI, with the number of each class that ``labels`` of :meth:`info` and
    ``label_names`` of an answer say.

    Channels that lie in files of their own end in ``_0000``, ``_0001``, ...; the image of a request is the first.

    Params of a request: ``threshold`` (default: the bundle's), ``result_extension`` (``.png`` for pictures, ``.nii``,
    ``.nii.gz``, ``.nrrd``: label numbers), ``result_dtype`` (``uint8``, ``uint16``), ``result_compress``.
    """

    type_of_task = InferType.SEGMENTATION
    kind = "segmentation"

    def answer(self, prediction: SegmentationPrediction, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        if request.get("threshold") is not None:
            prediction = replace(prediction, threshold=float(request["threshold"]))
        classes = dict(zip(prediction.labels.names, prediction.labels.written, strict=True))
        answer: dict[str, Any] = {
            "label_names": classes,
            "confidence": prediction.confidence,
            "threshold": prediction.threshold,
            "foreground_share": float(prediction.mask.mean()),
        }
        if len(classes) > 1:
            answer["confidences"] = prediction.confidences
            answer["shares"] = {name: float(prediction.class_mask(name).mean()) for name in classes}
        return _saved(prediction, request, labels=True), answer

    def numbers(self, predictor: Predictor) -> dict[str, int]:
        labels = cast(SegmentationTask, predictor.task).labels
        return dict(zip(labels.names, labels.written, strict=True))

    def takes(self, image_id: str, file: Path) -> bool:
        """Volumes for a model of volumes, of channels in files of their own the first."""
        predictor = self.model.predictor()
        if int(predictor.settings.get("spatial_dims", 2)) != 3:
            return True
        try:
            volume = is_volume(file)
        except (OSError, ValueError):  # a damaged file, which the prediction names
            return True
        return volume and channel_number(image_id) in (None, 0)

    def source(self, request: Mapping[str, Any]) -> str | tuple[str, ...]:
        first = image_file(request.get("image"), "image")
        channels = self.model.predictor().channel_files
        if not channels:
            return first
        with as_http_error(BAD_INPUT, self.model.name):
            return tuple(map(str, channel_files(Path(first), channels))) or first


class ClassificationInfer(BundleInfer):
    """Calibrated class probabilities; no image."""

    type_of_task = InferType.CLASSIFICATION
    kind = "classification"

    def answer(self, prediction: ClassificationPrediction, request: Mapping[str, Any]) -> tuple[None, dict[str, Any]]:
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
    ``result_extension`` is taken as for masks.
    """

    kind = "fusion"

    def takes(self, image_id: str, file: Path) -> bool:
        """Source A, by the ending of its id."""
        return image_id.endswith(self.model.sources[0])

    def source(self, request: Mapping[str, Any]) -> tuple[str, str]:
        first = image_file(request.get("image"), "image")
        named = request.get("image_b")
        if named:
            return first, image_file(named, "image_b")
        path = Path(first)
        with as_http_error(BAD_INPUT, self.model.name):
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

    def answer(self, prediction: FusionPrediction, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return _saved(prediction, request), {"label_names": {}, "value_range": [0, 1]}


TASKS = {"segmentation": SegmentationInfer, "classification": ClassificationInfer, "fusion": FusionInfer}


def infer_task(model: ServedModel) -> BundleInfer:
    """The task that fits the bundle's kind."""
    return TASKS[model.predictor().kind](model)


def image_file(image: Any, key: str) -> str:
    """Path of a request's image, which MONAI Label has looked up; an answer of 404 when it found none."""
    if not isinstance(image, str) or not image or not Path(image).exists():
        raise HTTPException(NOT_FOUND, f"{key}: no such image in the studies folder ({image or 'unknown id'}).")
    return image


@contextmanager
def readable(source: str | tuple[str, ...]) -> Iterator[Any]:
    """The files of a request as the predictor reads them: NRRD as NIfTI while this lasts.

    Raises:
        ValueError: a NRRD file that cannot be read, or names another for its pixels.
    """
    files = [source] if isinstance(source, str) else list(source)
    with tempfile.TemporaryDirectory(prefix="medssm_nrrd_") as folder:
        made = [
            str(provide(Path(file), Path(folder), f"image_{number}")) if image_kind(Path(file)) == NRRD else file
            for number, file in enumerate(files)
        ]
        yield made[0] if isinstance(source, str) else tuple(made)


def _saved(
    prediction: SegmentationPrediction | FusionPrediction, request: Mapping[str, Any], labels: bool = False
) -> str:
    """A temporary file, which the server removes when it has been sent."""
    made = _new_file(".png" if prediction.meta.get("file_kind") == RASTER else ".nii.gz")
    wanted = request.get("result_extension") or suffix_of(made)
    dtype, compress = request.get("result_dtype"), request.get("result_compress", True) is not False
    target = made
    try:
        prediction.save(made)
        if wanted != suffix_of(made) or dtype not in (None, "uint8"):
            target = _new_file(wanted)
            write_as(made, target, labels=labels, dtype=dtype, compress=compress)
        return str(target)
    except BaseException:
        made.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        raise


def _new_file(suffix: str) -> Path:
    handle, path = tempfile.mkstemp(suffix=suffix, prefix="medssm_label_")
    os.close(handle)
    return Path(path)
