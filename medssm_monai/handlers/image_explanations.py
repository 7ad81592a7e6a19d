"""Where the network looks, one picture per image of an inference without labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.utils import CommonKeys

from ..engines.batch_items import decollated, item_file, item_stage
from ..transforms.save import ResultNames
from ..utils import writable_folder
from ..utils.shown_names import shown_name
from ..utils.text_files import GrowingTable, name_cell
from .workflow_state import workflow_state

if TYPE_CHECKING:
    from ..visualize import ImageExplainer

__all__ = ["ImageExplanations"]


class ImageExplanations:
    """Ignite handler for an evaluator of a 2D classification without labels: a picture per image, at the image's own
    size with a color legend, and ``explanations.csv`` with image, class, confidence, layer, peak and picture, each as
    it comes.

    Args:
        output_dir: folder; created when missing. The pictures have the names of the images.
        explainer: makes the explanations, of the predicted class.

    Raises:
        ValueError: items without image and prediction; and what the explainer raises, which a ``BulkEvaluator``
            records.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(self, output_dir: str | os.PathLike[str], explainer: ImageExplainer) -> None:
        self.output_dir, self.explainer = Path(output_dir), explainer
        self._table = GrowingTable(self.output_dir / "explanations.csv")
        self._names = ResultNames()

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._explain)

    def _started(self, engine: Engine) -> None:
        writable_folder(self.output_dir)
        self._table.restart()
        self._names = ResultNames()

    def _explain(self, engine: SupervisedEvaluator) -> None:
        for item, source in decollated(engine, (CommonKeys.IMAGE, CommonKeys.PRED), type(self).__name__):
            file = item_file(source) or item_file(item)
            if file is None:
                raise ValueError("an image without a file cannot be shown at its own size; load it with LoadImage2Dd.")
            with item_stage(engine, file, "explanation"):
                self._one(engine, file, item)

    def _one(self, engine: SupervisedEvaluator, file: str, item: Mapping[str, Any]) -> None:
        probabilities = torch.as_tensor(item[CommonKeys.PRED]).detach().cpu()
        label = self.explainer.number_of(None, probabilities)
        image = item[CommonKeys.IMAGE].to(workflow_state(engine).device)
        activation = self.explainer.activation(engine.network, image, label)
        shown = self.explainer.explanation(file, item, activation, probabilities, label)
        target = shown.save(self._names(file, self.output_dir, ".png"))
        row = {
            "image": name_cell(shown_name(file)),
            "class": name_cell(shown.class_name),
            "confidence": f"{shown.confidence:.6f}",
        }
        row |= {"layer": shown.layer, "peak": f"{shown.peak:.6g}", "picture": name_cell(target.name)}
        self._table.append(row)
