"""What a segmentation found in each image, as a table and drawn on the images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.utils import CommonKeys

from ..data.labels import LabelSet
from ..data.readers.channels import files_of
from ..data.readers.files import DICOM, NIFTI, file_stem
from ..engines.batch_items import decollated, item_file, item_stage
from ..metrics.conformal_risk import RiskThresholds
from ..utils import replace_file, writable_folder
from ..utils.shown_names import shown_name
from ..utils.text_files import GrowingTable, name_cell

__all__ = ["SegmentationTable", "pixel_area", "voxel_volume"]

OVERLAYS = "overlays"
PROBABILITY = "probability"

Load = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class SegmentationTable:
    """Ignite handler for an evaluator of a segmentation without labels that saves its masks (``SaveImage2Dd``).

    For each image, as it comes, a row of a table and a picture of the mask's outline on the image:

    * ``image``, ``mask``: their files, the image's from the data folder on;
    * ``area_pixels``; ``area_mm2`` where the file knows its spacing, else an empty cell (PNG, JPEG, TIFF, BMP);
    * ``share`` of the image, 0 to 1; ``confidence``, the mean probability within the mask, empty without foreground;
    * ``overlay``: the picture, in the folder ``overlays`` beside the mask;
    * with ``conformal``: ``controlled_threshold``, the calibrated probability above which a pixel is marked so that
      little is missed, and ``controlled_pixels`` (``controlled_voxels``), how many are.

    With ``labels`` of several classes, or of one that values tell, and for volumes, there is a row per image and class:
    ``image``, ``mask``, ``class``, then ``pixels`` and ``area_mm2``, of volumes ``voxels`` and ``volume_ml``, ``share``
    and ``confidence`` as above, and ``overlay``, one picture for all classes of an image, each in its color, of a
    volume the slice across the last axis with most foreground.

    Args:
        path: the table.
        load: transform that gives ``{"image": ...}`` from ``{"image": file}`` at the file's size, as the preprocessing
            starts; of an image with a file per channel it gets all of them. ``None`` draws no pictures.
        threshold: probability from which a pixel is foreground; False or ``None``: 0.5. Of classes that exclude each
            other the most probable one holds instead.
        weights: what the masks are made with; adds a column ``weights`` with this text.
        labels: the classes, a :class:`~medssm_monai.data.labels.LabelSet` or what makes one; None, or one class told by
            a rule, is the foreground of pictures.
        conformal: calibrated thresholds that control what masks miss (:func:`medssm_monai.bundle.read_conformal`); the
            masks that are saved are not those.

    Raises:
        ValueError: thresholds of other classes (at once); items that are no decollated dicts with ``probability``, at
            the size of the file ``(out_channels, *spatial)``, and ``saved_to``.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        load: Load | None = None,
        threshold: float | None = 0.5,
        weights: str | None = None,
        labels: LabelSet | Mapping[str, Any] | None = None,
        conformal: Mapping[str, Any] | None = None,
    ) -> None:
        self.labels = None if labels is None else LabelSet.of(labels)
        self._risk = None
        if conformal is not None:
            names = self.labels.names if self.labels else list(conformal.get("thresholds", {}))[:1]
            self._risk = RiskThresholds.of(conformal, names)
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
                    "SaveImage2Dd or SaveSegmentationd at the end of the post-processing."
                )
            with item_stage(engine, file, "result"):
                values, meta = item[PROBABILITY], everything[CommonKeys.IMAGE].meta
                if self.labels is None or (self.labels.by_rule and values.ndim == 3):
                    self._one(file, Path(saved), values, meta)
                else:
                    self._classes(file, Path(saved), values, meta, self.labels)

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
        if self._risk is not None:
            row |= self._controlled(next(iter(self._risk.thresholds)), probability, "pixels")
        self._append(row)

    def _classes(self, file: str, saved: Path, values: Any, meta: Mapping[str, Any], labels: LabelSet) -> None:
        plain = values.as_tensor() if isinstance(values, MetaTensor) else torch.as_tensor(values)
        probability = plain.detach().cpu().float()
        masks = labels.masks(probability, self.threshold).numpy()
        flat = masks.ndim == 3
        affine = _affine(values, meta)
        unit = pixel_area(meta) if flat else voxel_volume(affine)
        overlay = None
        if self.load is not None:
            source = files_of(meta, file)
            overlay = name_cell(_draw_classes(self.load, source, saved, masks, labels, affine))
        for name, mask, channel in zip(labels.names, masks, probability[-len(masks) :].numpy(), strict=True):
            count = int(mask.sum())
            row: dict[str, Any] = {"image": name_cell(shown_name(file)), "mask": name_cell(saved)}
            row |= {"class": name_cell(name), "pixels" if flat else "voxels": count}
            row["area_mm2" if flat else "volume_ml"] = "" if unit is None else f"{count * unit:.4f}"
            row["share"] = f"{count / mask.size:.6f}"
            row["confidence"] = f"{float(channel[mask].mean(dtype=np.float64)):.6f}" if count else ""
            row |= {} if overlay is None else {"overlay": overlay}
            self._append(row | self._controlled(name, channel, "pixels" if flat else "voxels"))

    def _controlled(self, name: str, probability: np.ndarray, unit: str) -> dict[str, Any]:
        """Cells of the mask whose risk is controlled; none without a calibration."""
        if self._risk is None:
            return {}
        marked = int(self._risk.mask(probability, name).sum())
        return {"controlled_threshold": f"{self._risk.thresholds[name]:g}", f"controlled_{unit}": marked}

    def _append(self, row: dict[str, Any]) -> None:
        self._table.append(row if self.weights is None else {**row, "weights": name_cell(self.weights)})


def _draw(load: Load, file: str, saved: Path, mask: np.ndarray) -> Path:
    from ..visualize import overlay_contours

    image = torch.as_tensor(load({"image": file})["image"])
    return _saved(overlay_contours(image, pred=mask), saved)


def _draw_classes(
    load: Load, file: str | list[str], saved: Path, masks: np.ndarray, labels: LabelSet, affine: np.ndarray | None
) -> Path:
    from ..visualize import (
        class_legend,
        overlay_classes,
        overlay_contours,
        plane_image,
        titled_panel,
        to_rgb,
        volume_plane,
        volume_slice,
    )

    image = load({"image": file})["image"]
    if masks.ndim == 4:
        place = volume_slice(masks)
        own = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else affine
        image = plane_image(image, place, masks.shape[-1], own)
        masks = volume_plane(masks, place, affine)
    plane = to_rgb(image, masks.shape[1:]).transpose(2, 0, 1) / 255.0
    shown = [overlay_contours(plane), overlay_classes(plane, masks, labels.colors)]
    return _saved(titled_panel(shown, "", class_legend(labels.names, labels.colors, masks)), saved)


def _saved(picture: np.ndarray, saved: Path) -> Path:
    from ..visualize import save_png

    target = saved.parent / OVERLAYS / f"{file_stem(saved)}.png"
    writable_folder(target.parent)
    with replace_file(target) as temporary:
        save_png(picture, temporary)
    return target


def _affine(values: Any, meta: Mapping[str, Any]) -> np.ndarray | None:
    """From elements of the file to world coordinates in mm; ``None`` where neither prediction nor image knows it."""
    found = values.affine.cpu() if isinstance(values, MetaTensor) else meta.get("original_affine")
    return None if found is None else np.asarray(found, dtype=np.float64)


def voxel_volume(affine: np.ndarray | None) -> float | None:
    """Volume of a voxel in ml, from an affine matrix in mm ``(4, 4)``; ``None`` without one."""
    return None if affine is None else abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0


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
