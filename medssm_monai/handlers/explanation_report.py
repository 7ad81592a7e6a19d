"""Grad-CAM and scan attention of the first images of each class, in the folder of an evaluation."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.utils import CommonKeys

from ..engines.batch_items import decollated, item_file
from ..reports.html_explanations import ExplainedLayer, explanation_section
from ..reports.html_page import PAGE, add_section
from ..utils import writable_folder
from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import markdown_text, name_cell, open_text, write_text
from .events import process_rank

if TYPE_CHECKING:
    from ..visualize import Explanation

__all__ = ["ExplanationReport"]

logger = logging.getLogger(__name__)

BATCH = 8
SHOWN = "Where a layer speaks for the predicted class (Grad-CAM), each map by its own peak."
_COLUMNS = ("layer", "image", "label", "class", "correct", "peak", "weak", "overlay")


class ExplanationReport:
    """Ignite handler for a MONAI evaluator of a 2D classification: where the named layers speak for the predicted
    class.

    Takes the first images of each true class that the evaluation sees. When it is complete, ``output_dir`` gets

    * ``<layer>/sheet_class_<k>.png``: a contact sheet per class with true and predicted class, weak cases flagged, and
      ``<layer>/overlay_<i>.png``, one per image (``medssm_monai.visualize.save_explanations``);
    * ``scan <layer>/sheet_class_<k>.png`` for each scan layer: from which tokens the selective scan took what it gave
      to one token, the one where the Grad-CAM of the first layer peaks (red frame);
    * ``explanations.csv``: one row per layer and image; ``explanations.md``: the sheets and the weak cases on one page.

    Args:
        output_dir: folder; created when missing.
        layers: names of layers whose output is a map, for example ``["context_gate", "spectral_flow2"]``.
        class_names: names of the classes in the order of the network's outputs.
        scan_layers: names of Mamba mixers, for example ``["blocks.6.mixer"]``; they need at least one entry in
            ``layers``.
        channel_dim: where the maps of ``layers`` have their channels, see ``grad_cam``.
        images_per_class: how many images of each true class.
        threshold: share of the median peak below which an activation is weak, see ``weak_activations``.
        mean, std: what the preprocessing subtracted and divided by (numbers, or one per channel), so that the pictures
            look like the images; values outside [0, 1] are cut.
        report: page of the evaluation (``report.md``, written by a handler that stands earlier in the list) that the
            sheets are added to, and to ``report.html`` beside it; ``None`` leaves them on their own page.

    Raises:
        FileNotFoundError: no ``report`` there when the evaluation is complete.
        ValueError: no layers, ``images_per_class`` below one; a layer that the network does not have (when the
            evaluation is complete), items without image, label and prediction.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        layers: Sequence[str],
        class_names: Sequence[str],
        scan_layers: Sequence[str] = (),
        channel_dim: int = 1,
        images_per_class: int = 12,
        threshold: float = 0.25,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        report: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(layers, str) or not layers or images_per_class < 1:
            raise ValueError(f"give a list of layers and images_per_class >= 1, got {layers!r}, {images_per_class}.")
        self.output_dir = Path(output_dir)
        self.report = None if report is None else Path(report)
        self.layers, self.scan_layers = list(layers), list(scan_layers)
        self.class_names, self.channel_dim = [str(name) for name in class_names], channel_dim
        self.images_per_class, self.threshold = images_per_class, threshold
        self.mean, self.std = (torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1) for value in (mean, std))
        self._kept: list[tuple[torch.Tensor, int, int, str]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if process_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _started(self, engine: Engine) -> None:
        self._kept = []
        writable_folder(self.output_dir)

    def _collect(self, engine: Engine) -> None:
        keys = (CommonKeys.IMAGE, CommonKeys.LABEL, CommonKeys.PRED)
        for item, _ in decollated(engine, keys, type(self).__name__):
            image, label, pred = (torch.as_tensor(item[key]).detach() for key in keys)
            number = int(label.reshape(-1)[0])
            if sum(number == kept[1] for kept in self._kept) < self.images_per_class:
                name = item_file(item) or f"image {len(self._kept)}"
                plain = image.as_tensor() if hasattr(image, "as_tensor") else image
                self._kept.append((plain, number, int(pred.argmax()), name))

    def _finish(self, engine: SupervisedEvaluator) -> None:
        from ..visualize import save_explanations, save_scan_sheets

        if not self._kept:
            raise ValueError("no images were evaluated, there is nothing to explain; check the data list.")
        images = torch.stack([kept[0] for kept in self._kept])
        labels, predicted = [kept[1] for kept in self._kept], [kept[2] for kept in self._kept]
        files = [kept[3] for kept in self._kept]
        shown = (images.cpu() * self.std + self.mean).clamp(0, 1)
        facts: dict[str, Any] = {"labels": labels, "predictions": predicted, "class_names": self.class_names}
        facts |= {"names": [Path(name).name for name in files], "per_class": self.images_per_class}
        cases: dict[str, list[Explanation]] = {}
        first: torch.Tensor | None = None
        for layer in self.layers:
            maps = self._maps(engine.network, images, layer, predicted)
            first = maps if first is None else first
            cases[layer] = save_explanations(self.output_dir / layer, shown, maps, threshold=self.threshold, **facts)
        assert first is not None  # there is a layer
        for layer in self.scan_layers:
            save_scan_sheets(self.output_dir / f"scan {layer}", engine.network, images, shown, first, layer, **facts)
        self._write_table(cases, files)
        self._write_page(cases)
        weak = {layer: sum(case.weak for case in entries) for layer, entries in cases.items()}
        logger.info("explained %d images, weak cases per layer %s; sheets in %s", len(images), weak, self.output_dir)

    def _maps(self, network: torch.nn.Module, images: torch.Tensor, layer: str, classes: list[int]) -> torch.Tensor:
        from ..visualize import grad_cam

        parts = []
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            parts.append(grad_cam(network, images[part], layer, classes[part], self.channel_dim).cpu())
        return torch.cat(parts)

    def _write_table(self, cases: dict[str, list[Explanation]], files: list[str]) -> None:
        path = self.output_dir / "explanations.csv"
        with replace_file(path) as temporary, open_text(temporary) as stream:
            writer = csv.writer(stream)
            writer.writerow(_COLUMNS)
            for layer, entries in cases.items():
                for case, file in zip(entries, files, strict=True):
                    names = [name_cell(self.class_names[number]) for number in (case.label, case.predicted)]
                    verdict = [int(case.label == case.predicted), f"{case.peak:.6g}", int(case.weak)]
                    overlay = Path(case.overlay).relative_to(self.output_dir).as_posix()
                    writer.writerow([layer, name_cell(shown_name(file)), *names, *verdict, overlay])

    def _write_page(self, cases: dict[str, list[Explanation]]) -> None:
        with replace_file(self.output_dir / "explanations.md") as temporary:
            write_text(temporary, "\n".join(self._page(cases, "#")))
        if self.report is not None:
            before = self.report.read_text(encoding="utf-8")
            folder = Path(os.path.relpath(self.output_dir, self.report.parent)).as_posix() + "/"
            with replace_file(self.report) as temporary:
                write_text(temporary, "\n".join([before, *self._page(cases, "##", folder)]))

        page = None if self.report is None else self.report.with_name(PAGE)
        if page is not None and page.is_file():  # a validation of a training has none
            add_section(page, explanation_section(f"{SHOWN} {self._of_weak}", self._layers(cases)))

    @property
    def _of_weak(self) -> str:
        return f"Weak: peak below {self.threshold:g} times the median of the layer; read it as uncertain."

    def _layers(self, cases: dict[str, list[Explanation]]) -> list[ExplainedLayer]:
        """What is said of each layer, and its sheets."""
        layers = []
        for folder in [*cases, *(f"scan {layer}" for layer in self.scan_layers)]:
            said = "Where the scan took from what it gave to the token in the red frame."
            if folder in cases:
                weak = [case.name for case in cases[folder] if case.weak]
                said = f"{len(weak)} of {len(cases[folder])} images are weak: {', '.join(weak) or 'none'}."
            files = sorted((self.output_dir / folder).glob("sheet_class_*.png"))
            sheets = [(self.class_names[int(file.stem.rsplit("_", 1)[1])], file) for file in files]
            layers.append(ExplainedLayer(folder, said, sheets))
        return layers

    def _page(self, cases: dict[str, list[Explanation]], heading: str, place: str = "") -> list[str]:
        """The sheets and the weak cases; ``heading`` is the mark of the title, ``place`` the folder as the page sees
        it."""
        lines = [f"{heading} Explanations", "", SHOWN, self._of_weak, ""]
        for layer in self._layers(cases):
            lines += [f"{heading}# {layer.name}", "", _escaped(layer.said), ""]
            for name, file in layer.sheets:
                lines += [f"![{markdown_text(name)}](<{place}{layer.name}/{file.name}>)", ""]
        return lines


def _escaped(said: str) -> str:
    """The sentence about a layer, with names of files in it, for Markdown."""
    head, colon, names = said.partition(": ")
    return f"{head}{colon}{markdown_text(names)}" if colon else said
