"""Pictures of segmentations: outlines of label and prediction on the image, and sheets of such pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..utils.text_files import printable

__all__ = [
    "LABEL_COLOR",
    "PREDICTION_COLOR",
    "contact_sheet",
    "overlay_contours",
    "save_png",
    "titled_panel",
    "to_rgb",
]

LABEL_COLOR = (0, 229, 255)  # cyan and yellow stay apart for color-blind readers, on skin and on mucosa
PREDICTION_COLOR = (255, 212, 0)
_AGREEMENT_COLOR = (255, 255, 255)
_SHEET = 24  # gray value behind the pictures
_PATCH = 9  # pixels, of a color in a legend
Color = tuple[int, int, int]
_LEGEND = (("label", LABEL_COLOR), ("prediction", PREDICTION_COLOR), ("both", _AGREEMENT_COLOR))


def to_rgb(image: Any, size: tuple[int, int] | None = None) -> np.ndarray:
    """Bring an image into the form of a picture.

    Args:
        image: ``(C, H, W)`` with three channels (RGB) or any other number, of which the first is shown in gray, or
            ``(H, W)``; tensor or array. Values in [0, 1] are taken as they are; any other range is stretched to it.
        size: height and width of the picture when the image has another size than its masks; ``None`` keeps the size.

    Returns:
        uint8 ``(H, W, 3)``.

    Raises:
        ValueError: any other shape.
    """
    values = image.detach().cpu().float().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    values = values.astype(np.float64)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.size == 0:
        raise ValueError(f"image must have shape (C, H, W) or (H, W), got {values.shape}.")
    values = np.nan_to_num(values if values.shape[0] == 3 else np.repeat(values[:1], 3, axis=0))
    low, high = values.min(), values.max()
    if low < 0.0 or high > 1.0:
        values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    picture = (values.transpose(1, 2, 0) * 255.0 + 0.5).astype(np.uint8)
    if size is None or picture.shape[:2] == tuple(size):
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _as_mask(mask: Any, shape: tuple[int, int], name: str) -> np.ndarray:
    values = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    values = values[0] if values.ndim == 3 and values.shape[0] == 1 else values
    if values.shape != shape:
        raise ValueError(f"{name} must have the image's size {shape}, got shape {values.shape}.")
    return values > 0.5


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    """Foreground pixels within ``width`` of the background; the image border counts as background (which scikit-image's
    ``find_boundaries`` leaves open, and it knows no width)."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask, iterations=width)


def overlay_contours(
    image: Any, label: Any | None = None, pred: Any | None = None, min_size: int = 320, width: int = 2
) -> np.ndarray:
    """Draw the outline of the label (cyan) and of the prediction (yellow) on an image; white where both run together.

    Args:
        image: ``(C, H, W)`` or ``(H, W)``, see ``to_rgb``.
        label: mask ``(1, H, W)`` or ``(H, W)``, foreground above 0.5; ``None`` draws none.
        pred: prediction mask or probability, drawn at 0.5; ``None`` draws none.
        min_size: images with a smaller longer side are enlarged by a whole factor, so that outlines hide little.
        width: outline width in pixels of the picture.

    Returns:
        uint8 ``(H * f, W * f, 3)`` with the whole factor ``f >= 1``.

    Raises:
        ValueError: a mask of another size than the image.
    """
    canvas = to_rgb(image)
    shape = canvas.shape[:2]
    factor = max(1, -(-min_size // max(shape)))
    canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    outlines = {}
    for name, mask in (("label", label), ("pred", pred)):
        found = np.zeros(shape, dtype=bool) if mask is None else _as_mask(mask, shape, name)
        outlines[name] = _outline(found.repeat(factor, axis=0).repeat(factor, axis=1), width)
    canvas[outlines["label"]] = LABEL_COLOR
    canvas[outlines["pred"]] = PREDICTION_COLOR
    canvas[outlines["label"] & outlines["pred"]] = _AGREEMENT_COLOR
    return canvas


def titled_panel(
    pictures: Sequence[np.ndarray],
    title: str,
    legend: bool | Sequence[tuple[str, Color]] = True,
    captions: Sequence[str] = (),
) -> np.ndarray:
    """Put pictures of equal height side by side under lines of text (shortened to the width).

    Args:
        pictures: uint8 ``(H, W, 3)`` each.
        title: text above; none when empty.
        legend: a line that names the outline colors of ``overlay_contours``; names with their colors instead are
            written beside patches of color, on as many lines as they need.
        captions: a line with one text over each picture.

    Returns:
        uint8 ``(H + text, sum of W + gaps, 3)``.

    Raises:
        ValueError: another number of captions than pictures.
    """
    from PIL import Image, ImageDraw, ImageFont

    if captions and len(captions) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures need as many captions, got {len(captions)}.")
    gap, line = 4, 18
    height, width = pictures[0].shape[0], sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    font = ImageFont.load_default(13)
    entries = list(_LEGEND) if legend is True else [*legend] if legend else []
    rows = (
        [entries]
        if legend is True
        else _legend_rows(entries, [font.getlength(printable(n)) for n, _ in entries], width)
    )
    top = line * (bool(title) + len(rows) + bool(captions)) + 2
    panel = Image.new("RGB", (width, height + top), (_SHEET,) * 3)
    draw = ImageDraw.Draw(panel)

    def write(text: str, left: int, row: int, room: int, color: Color = (255, 255, 255)) -> int:
        text = printable(text)
        while len(text) > 4 and draw.textlength(text, font) > room:
            text = text[:-4] + "..."
        draw.text((left, line * row + 2), text, color, font)
        return left + round(draw.textlength(text, font))

    if title:
        write(title, 4, 0, width - 8)
    for number, row in enumerate(rows, start=bool(title)):
        left = 4
        for name, color in row:
            if legend is True:
                left = write(name, left, number, width, color) + 14
            else:
                draw.rectangle((left, line * number + 5, left + _PATCH, line * number + 5 + _PATCH), color)
                left = write(name, left + _PATCH + 5, number, width - left - _PATCH - 9) + 14
    left = 0
    for number, picture in enumerate(pictures):
        if captions:
            write(captions[number], left + 4, bool(title) + len(rows), picture.shape[1] - 8)
        panel.paste(Image.fromarray(picture), (left, top))
        left += picture.shape[1] + gap
    return np.asarray(panel)


def _legend_rows(
    entries: Sequence[tuple[str, Color]], lengths: Sequence[float], width: int
) -> list[list[tuple[str, Color]]]:
    """Entries on lines that are at most ``width`` long, given the lengths of their names."""
    rows: list[list[tuple[str, Color]]] = []
    left = width + 1.0
    for entry, length in zip(entries, lengths, strict=True):
        needed = _PATCH + 5 + length + 14
        if left + needed > width:
            rows.append([])
            left = 4.0
        rows[-1].append(entry)
        left += needed
    return rows


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 2) -> np.ndarray:
    """Arrange pictures in rows on one sheet, in order; cells are as large as the largest picture.

    Args:
        pictures: uint8 ``(H, W, 3)`` each, at least one.
        columns: pictures per row.

    Raises:
        ValueError: no pictures, or ``columns`` below one.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a sheet needs pictures and columns >= 1, got {len(pictures)} and {columns}.")
    from skimage.util import montage

    columns = min(columns, len(pictures))
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    cells = np.full((len(pictures), height, width, 3), _SHEET, dtype=np.uint8)
    for cell, picture in zip(cells, pictures, strict=True):
        cell[: picture.shape[0], : picture.shape[1]] = picture
    shape = (-(-len(pictures) // columns), columns)
    return montage(cells, fill=[_SHEET] * 3, grid_shape=shape, padding_width=8, channel_axis=-1)


def save_png(picture: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write a uint8 picture ``(H, W, 3)`` or ``(H, W)`` to a file."""
    from PIL import Image

    Image.fromarray(picture).save(path)
