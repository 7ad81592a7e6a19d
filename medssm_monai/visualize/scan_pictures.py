"""Scan attention of a set of images as pictures: one contact sheet for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..networks.blocks import SelectiveCore
from .evaluation_mode import evaluation_mode, find_layer
from .heatmap import overlay_heatmap
from .overlay import contact_sheet, save_png, titled_panel
from .scan_attention import capture_scans

__all__ = ["peak_token", "save_scan_sheets"]


def peak_token(heatmap: torch.Tensor, token_map: Sequence[int]) -> tuple[int, ...]:
    """Row and column of the token in whose part of the image a heat map ``(1, H, W)`` peaks (the first of equals)."""
    sizes = heatmap.shape[1:]
    place = np.unravel_index(int(heatmap[0].argmax()), sizes)
    return tuple(int(p) * t // s for p, t, s in zip(place, token_map, sizes, strict=True))


def save_scan_sheets(
    folder: str | os.PathLike[str],
    network: nn.Module,
    images: torch.Tensor,
    pictures: torch.Tensor,
    maps: torch.Tensor,
    layer: str,
    labels: Sequence[int],
    predictions: Sequence[int],
    class_names: Sequence[str],
    names: Sequence[str],
    per_class: int = 12,
) -> list[Path]:
    """Write ``sheet_class_0.png``, ...: each image beside what the selective scan of a layer gave to one of its tokens.

    The token is the one where the image's heat map peaks; it has a red frame. Bright tokens are those whose input
    weighs most in its output (``ScanCoefficients.attention``), coloured by the image's own maximum.

    Args:
        folder: made when it is not there.
        network: runs in evaluation mode, image by image, and is left as it was.
        images: ``(N, C, H, W)``, as the network takes them.
        pictures: the same images for display, ``(N, C, H, W)`` in [0, 1].
        maps: heat maps ``(N, 1, H, W)``.
        layer: name of a Mamba mixer.
        labels, predictions: class numbers.
        class_names, names: of the classes and the images, for the titles.
        per_class: images on a sheet, the first ones of each class.

    Returns:
        the sheets.

    Raises:
        ValueError: the layer is unknown or no mixer, or it did not scan a 2D map.
    """
    core = find_layer(network, layer)
    if not isinstance(core, SelectiveCore):
        mixers = [name for name, module in network.named_modules() if isinstance(module, SelectiveCore)]
        raise ValueError(f"layer {layer!r} is no selective scan; this network's are: {', '.join(mixers) or 'none'}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sheets: dict[int, list[np.ndarray]] = {}
    for i, label in enumerate(labels):
        if len(sheets.setdefault(label, [])) == per_class:
            continue
        with torch.no_grad(), evaluation_mode(network), capture_scans(core) as calls:
            network(images[i : i + 1])
        if not calls or len(calls[0].spatial) != 2:
            raise ValueError(f"layer {layer!r} scanned no 2D map; name another one.")
        row, column = peak_token(maps[i], calls[0].spatial)
        weights = calls[0].attention(row * calls[0].spatial[1] + column)[0]
        plain, heat = (overlay_heatmap(pictures[i], weights, alpha=a, mark=(row, column)) for a in (0.0, 0.6))
        verdict = "" if label == predictions[i] else "WRONG: "
        title = f"{verdict}true {class_names[label]}, predicted {class_names[predictions[i]]} | {names[i]}"
        sheets[label].append(titled_panel([plain, heat], title, legend=False))
    paths = []
    for label, panels in sorted(sheets.items()):
        paths.append(folder / f"sheet_class_{label}.png")
        save_png(contact_sheet(panels, columns=3), paths[-1])
    return paths
