"""Active learning: which image to label next, by the network's own uncertainty."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.tasks.scoring import ScoringMethod

from .infer import BundleInfer

__all__ = ["DropoutScoring", "score_key"]

logger = logging.getLogger(__name__)


def score_key(model: str) -> str:
    """Key of a model's score in an image's info; the strategy of the same name serves the highest first."""
    return f"{model}_epistemic"


class DropoutScoring(ScoringMethod):
    """Monte Carlo dropout on every image without a final label (:meth:`medssm_monai.bundle.Predictor.uncertainty`).

    Images that these weights have scored before are passed over, as are images that cannot be predicted or were removed
    meanwhile, which the answer names. Params of a request: ``simulation_size`` (samples, default 8), ``dropout``
    (default 0.1), ``max_samples`` (images to score; 0, the default, is all).

    Args:
        task: the inference task of the model.
    """

    def __init__(self, task: BundleInfer) -> None:
        super().__init__(f"Uncertainty of {task.model.name} by Monte Carlo dropout, for images without a final label")
        self.task = task

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Write the score of each image into its info; returns what was done."""
        start, predictor = time.perf_counter(), self.task.ready()
        weights = self.task.model.weights
        stamp = weights.stat().st_mtime_ns if weights else 0
        key = score_key(self.task.model.name)
        files = {image: Path(datastore.get_image_uri(image)) for image in datastore.get_unlabeled_images()}
        waiting = [image for image, file in files.items() if self.task.takes(image, file)]
        fresh = [image for image in waiting if datastore.get_image_info(image).get(f"{key}_weights") != stamp]
        limit = int(request.get("max_samples") or 0)
        samples, dropout = int(request.get("simulation_size", 8)), float(request.get("dropout", 0.1))
        failed: dict[str, str] = {}
        done = 0
        for image in fresh:
            if limit and done == limit:
                break
            try:
                source = self.task.source({"image": datastore.get_image_uri(image)})
                scores = predictor.uncertainty(source, samples=samples, dropout=dropout)
                datastore.update_image_info(image, {key: scores["epistemic"], f"{key}_weights": stamp})
            except (HTTPException, MONAILabelException, OSError, RuntimeError, ValueError) as error:
                failed[image] = str(getattr(error, "detail", error))
                logger.warning("%s: not scored: %s", image, failed[image])
                continue
            done += 1
        return {
            "total": len(waiting),
            "skipped": len(waiting) - len(fresh),
            "executed": done,
            "failed": failed,
            "latency": round(time.perf_counter() - start, 3),
        }
