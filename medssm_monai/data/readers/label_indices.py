"""Masks as places in a :class:`~medssm_monai.data.LabelSet`: numbers by their values, one class of volumes by rule."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import PathLike

from ..labels import LabelSet
from .arrays import array_name, is_array
from .label_map import read_label_map
from .mask import HALF, Foreground, MaskValuesError
from .segment_labels import SegmentFiles

__all__ = ["LabelSource", "read_label_indices"]

LabelSource = PathLike | SegmentFiles | np.ndarray | torch.Tensor
SHOWN = 6
REMEDY = (
    "give every class its value with labels, {liver: 1, tumor: 2}, or say which values are foreground: 'nonzero' "
    "(everything above 0), 'half' (above 127 of 255), or the values, such as [1, 2]"
)


def read_label_indices(
    source: LabelSource, labels: LabelSet, spatial_dims: int, foreground: Foreground = "auto"
) -> tuple[torch.Tensor, np.ndarray]:
    """Places of a mask's values in :attr:`LabelSet.known`, 0 the background.

    One class by rule has 1 where the mask is above zero, if it holds 0 and one other value, or where ``foreground``
    says.

    Args:
        source: file or DICOM segmentations (:func:`~.label_map.read_label_map`), or numbers in memory, with or without
            a first axis of one.
        labels: the classes.
        spatial_dims: 2 or 3; one class by rule of pictures has a reader of its own (:func:`~.mask.read_mask`).
        foreground: of one class by rule: ``"auto"``, ``"nonzero"``, ``"half"`` (above 127, 0.5 in masks up to 1), or
            values.

    Returns:
        int64 ``(1, *spatial)``, and the ``(4, 4)`` affine of its axes.

    Raises:
        FileNotFoundError, ImageReadError: as :func:`~.label_map.read_label_map`.
        ValueError: values that labels do not name, or that are no whole numbers.
        MaskValuesError: one class by rule, and values that do not say which are foreground.
    """
    if is_array(source):
        name = array_name(source)
        affine = np.asarray(source.affine) if hasattr(source, "affine") else np.eye(4)
        values = source.detach().cpu().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
        values = values[0] if values.ndim == spatial_dims + 1 and len(values) == 1 else values
        if values.ndim != spatial_dims:
            raise ValueError(
                f"{name}: expected a mask of {spatial_dims} axes, with or without a first one of length 1."
            )
    else:
        name = str(source)
        values, affine = read_label_map(source, spatial_dims)
    if labels.by_rule and isinstance(source, SegmentFiles):
        found = torch.from_numpy(values).to(torch.int64)  # 0 and 1
    elif labels.by_rule:
        found = torch.from_numpy(_foreground(values, foreground, name)).to(torch.int64)
    else:
        found = labels.to_indices(torch.from_numpy(np.ascontiguousarray(values)), name)
    return found[None], np.asarray(affine, dtype=np.float64)


def _foreground(values: np.ndarray, foreground: Foreground, name: str) -> np.ndarray:
    """Where one class lies, bool."""
    if not isinstance(foreground, str):
        if any(not isinstance(value, int) for value in foreground):
            raise ValueError(f"{name}: foreground of volumes are whole numbers, got {foreground!r}.")
        return np.isin(values, np.asarray(foreground))
    if foreground == "half":
        return values > (HALF if values.max() > 1 else 0.5)
    found = np.unique(values)
    if foreground == "auto" and (found[0] < 0 or np.count_nonzero(found) > 1):
        shown = ", ".join(f"{value:g}" for value in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise MaskValuesError(f"{name}: values {shown}{more}: one class needs 0 and one value above it; {REMEDY}.")
    return values > 0
