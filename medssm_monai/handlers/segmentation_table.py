"""What a segmentation found in each image, as a table and as outlines on the images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from ..data.readers.files import DICOM, NIFTI, file_stem
from ..engines.batch_items import decollated, item_file, item_stage
from ..utils import replace_file, writable_folder
from ..utils.shown_names import shown_name
from ..utils.text_files import GrowingTable, name_cell

__all__ = ["SegmentationTable", "pixel_area"]

OVERLAYS = "overlays"
PROBABILITY = "probability"

Load = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class SegmentationTable:
    """Ignite handler for an evaluator of a segmentation without labels that saves its masks (``SaveImage2Dd``).

    For each image, as it comes, a row of a table and a picture of the mask's outline on the image:

    * ``image``, ``mask``: their files, the image's from the data folder on;
    * ``area_pixels``; ``area_mm2`` where the file knows its spacing, else an empty cell (PNG, JPEG, TIFF, BMP);
    * ``share`` of the image, 0 to 1; ``confidence``, the mean probability within the mask, empty without foreground;
    * ``overlay``: the picture, in the folder ``overlays`` beside the mask.

    Args:
        path: the table.
        load: transform that gives ``{"image": ...}`` from ``{"image": file}`` at the file's size, as the preprocessing
            starts; ``None`` draws no pictures.
        threshold: probability from which a pixel is foreground; False or ``None``: 0.5.
        weights: what the masks are made with; adds a column ``weights`` with this text.

    Raises:
        ValueError: items that are no decollated dicts with ``probability`` (of the foreground) and ``saved_to``.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        load: Load | None = None,
        threshold: float | None = 0.5,
        weights: str | None = None,
    ) -> None:
        self.path, self.load, self.weights = Path(path), load, weights
        self.threshold = float(threshold or 0.5)
        self._table = GrowingTable(path)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)

    def _started(self, engine: Engine) -> None:
        writable_folder(self.path.parent)
        self._table.restart()

    def _collect(self, engine: Engine) -> None:
        for item, source in decollated(engine, (PROBABILITY,), type(self).__name__):
            everything = {**source, **item}
            file, saved = item_file(source) or item_file(item), everything.get("saved_to")
            if file is None or saved is None:
                raise ValueError(
                    f"{type(self).__name__} needs images from files and their masks' names ('saved_to'); put "
                    "SaveImage2Dd at the end of the post-processing."
                )
            with item_stage(engine, file, "result"):
                self._one(file, Path(saved), item[PROBABILITY], everything[CommonKeys.IMAGE].meta)

    def _one(self, file: str, saved: Path, values: Any, meta: Mapping[str, Any]) -> None:
        probability = torch.as_tensor(values).detach().cpu().float().numpy()[0]
        mask = probability >= self.threshold
        area, unit = int(mask.sum()), pixel_area(meta)
        row: dict[str, Any] = {"image": name_cell(shown_name(file)), "mask": name_cell(saved), "area_pixels": area}
        row["area_mm2"] = "" if unit is None else f"{area * unit:.4f}"
        row["share"] = f"{area / mask.size:.6f}"
        row["confidence"] = f"{float(probability[mask].mean(dtype=np.float64)):.6f}" if area else ""
        if self.load is not None:
            row["overlay"] = name_cell(_draw(self.load, file, saved, mask))
        self._table.append(row if self.weights is None else {**row, "weights": name_cell(self.weights)})


def _draw(load: Load, file: str, saved: Path, mask: np.ndarray) -> Path:
    from ..visualize import overlay_contours, save_png

    image = torch.as_tensor(load({"image": file})["image"])
    target = saved.parent / OVERLAYS / f"{file_stem(saved)}.png"
    writable_folder(target.parent)
    with replace_file(target) as temporary:
        save_png(overlay_contours(image, pred=mask), temporary)
    return target


def pixel_area(meta: Mapping[str, Any]) -> float | None:
    """Area of a pixel in mm², from the metadata of ``LoadImage2D``; ``None`` where the file does not know it.

    DICOM files without spacing are read with 1 mm, so that exactly 1 mm both ways counts as unknown there.
    """
    if meta.get("file_kind") not in (NIFTI, DICOM):
        return None
    affine = np.asarray(meta["original_affine"], dtype=np.float64)
    rows, columns = (float(np.linalg.norm(affine[:3, axis])) for axis in (0, 1))
    if meta["file_kind"] == DICOM and rows == columns == 1.0:
        return None
    return rows * columns
