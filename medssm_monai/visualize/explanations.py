"""Grad-CAM of a set of images as pictures: one overlay for each, one contact sheet for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .grad_cam import weak_activations
from .heatmap import overlay_heatmap
from .overlay import contact_sheet, save_png, titled_panel, to_rgb

__all__ = ["Explanation", "save_explanations"]

WEAK_COLOUR = (255, 140, 0)


@dataclass(frozen=True)
class Explanation:
    """One image: true and predicted class, peak of its Grad-CAM map, whether that is weak, and its overlay file."""

    name: str
    label: int
    predicted: int
    peak: float
    weak: bool
    overlay: str


def save_explanations(
    folder: str | os.PathLike[str],
    images: torch.Tensor,
    maps: torch.Tensor,
    labels: Any,
    predictions: Any,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    threshold: float = 0.25,
    reference: float | None = None,
    per_class: int = 12,
) -> list[Explanation]:
    """Write ``overlay_0000.png``, ... and, for each true class with images, ``sheet_class_0.png``, ... into a folder.

    Each map is coloured by its own peak; a weak one (see ``weak_activations``) by the lowest peak that is not weak, so
    that it looks as weak as it is. On the sheets weak cases have an orange frame and say so.

    Args:
        folder: made when it is not there.
        images: ``(N, C, H, W)``.
        maps: ``(N, 1, H, W)`` from ``grad_cam``, not normalised, all of one layer.
        labels, predictions: class indices ``(N,)`` or ``(N, 1)``.
        class_names: one per class; ``None``: the numbers.
        names: one per image, for the titles; ``None``: the numbers.
        threshold, reference: see ``weak_activations``.
        per_class: images on a sheet, the first ones of each class.

    Returns:
        One entry per image, in order.

    Raises:
        ValueError: no image, or arguments of unequal length.
    """
    true, guess = (np.asarray(torch.as_tensor(v).cpu()).reshape(-1).astype(int) for v in (labels, predictions))
    count, shown = len(images), list(names) if names is not None else [str(i) for i in range(len(images))]
    if not count or {len(maps), len(true), len(guess), len(shown)} != {count}:
        raise ValueError(
            "images, maps, labels, predictions and names must have one entry per image, got "
            f"{count}, {len(maps)}, {len(true)}, {len(guess)} and {len(shown)}."
        )
    titles = list(class_names) if class_names is not None else [str(k) for k in range(max(*true, *guess) + 1)]
    peaks = maps.detach().cpu().flatten(1).amax(1).double().numpy()
    level = float(np.median(peaks)) if reference is None else float(reference)
    weak = weak_activations(maps, threshold, level)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cases: list[Explanation] = []
    sheets: dict[int, list[np.ndarray]] = {}
    for i, image in enumerate(images):
        path = folder / f"overlay_{i:04d}.png"
        picture = overlay_heatmap(image, maps[i], peak=threshold * level if weak[i] else None)
        save_png(picture, path)
        cases.append(Explanation(shown[i], int(true[i]), int(guess[i]), float(peaks[i]), bool(weak[i]), str(path)))
        if len(sheets.setdefault(int(true[i]), [])) < per_class:
            sheets[int(true[i])].append(_panel(image, picture, cases[-1], titles))
    for label, panels in sorted(sheets.items()):
        save_png(contact_sheet(panels, columns=3), folder / f"sheet_class_{label}.png")
    return cases


def _panel(image: torch.Tensor, overlay: np.ndarray, case: Explanation, titles: Sequence[str]) -> np.ndarray:
    plain = to_rgb(image)
    factor = overlay.shape[0] // plain.shape[0]
    plain = plain.repeat(factor, axis=0).repeat(factor, axis=1)
    verdict = "" if case.label == case.predicted else "WRONG: "
    weak = "WEAK ACTIVATION | " if case.weak else ""
    title = f"{weak}{verdict}true {titles[case.label]}, predicted {titles[case.predicted]} | {case.name}"
    panel = titled_panel([plain, overlay], title, legend=False)
    colour = np.array(WEAK_COLOUR if case.weak else (24, 24, 24), dtype=np.uint8)
    framed = np.broadcast_to(colour, (panel.shape[0] + 8, panel.shape[1] + 8, 3)).copy()
    framed[4:-4, 4:-4] = panel
    return framed
