"""Loading of masks by the names and values of their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import SpaceKeys

from ..data.labels import LabelSet
from ..data.readers.arrays import ARRAY_NAME, is_array
from ..data.readers.label_indices import LabelSource, read_label_indices
from ..data.readers.mask import Foreground, check_foreground
from ..data.readers.segment_labels import SegmentFiles
from .each_key import EachKeyd
from .load import LoadImage2D

__all__ = ["LoadLabels", "LoadLabelsD", "LoadLabelsDict", "LoadLabelsd"]


class LoadLabels(Transform):
    """Load one mask as a float32 ``MetaTensor`` ``(1, *spatial)`` of places in :attr:`LabelSet.known
    <medssm_monai.data.LabelSet.known>`: 0 is the background, 1 the smallest value that a class has, and so on.

    One class by rule (``{"lesion": "foreground"}``) gives 0 and 1: in pictures as :class:`LoadImage2D` loads masks, in
    volumes above zero, where a mask holds 0 and one other value.

    Args:
        labels: a :class:`~medssm_monai.data.LabelSet`, or names and values as it takes them.
        spatial_dims: 2 for pictures and slices ``(1, H, W)``, 3 for volumes ``(1, X, Y, Z)`` with axes as stored.
        foreground: of one class by rule: which values are foreground, see :class:`LoadImage2D`; in volumes ``"auto"``,
            ``"nonzero"``, ``"half"`` or whole numbers.

    Raises:
        FileNotFoundError: no such file.
        ImageReadError: damaged, or another number of dimensions.
        ValueError: values that labels do not name; a mask whose values do not say what is foreground; bad arguments.
    """

    def __init__(
        self, labels: LabelSet | Mapping[str, Any], spatial_dims: int = 2, foreground: Foreground = "auto"
    ) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}.")
        self.labels = LabelSet.of(labels)
        if not self.labels.by_rule and foreground != "auto":
            raise ValueError(
                f"foreground={foreground!r} tells one class by rule, but labels give values ({self.labels.described}); "
                "leave foreground out, or the values."
            )
        self.spatial_dims, self.foreground = spatial_dims, check_foreground(foreground)
        self.picture = LoadImage2D("mask", foreground=foreground)

    def __call__(self, filename: LabelSource) -> MetaTensor:
        if self.labels.by_rule and self.spatial_dims == 2 and not isinstance(filename, SegmentFiles):
            return self.picture(filename)
        indices, affine = read_label_indices(filename, self.labels, self.spatial_dims, self.foreground)
        meta = {
            "filename_or_obj": ARRAY_NAME if is_array(filename) else str(filename),
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(indices.shape[1:]),
            "original_channel_dim": 0,
            "space": SpaceKeys.RAS,
        }
        return MetaTensor(indices.to(torch.float32), affine=torch.as_tensor(affine), meta=meta)


class LoadLabelsd(EachKeyd):
    """Dictionary version of :class:`LoadLabels`.

    Args:
        keys: entries that hold file names or arrays; each is replaced by the loaded mask.
        labels, spatial_dims, foreground: see :class:`LoadLabels`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: LabelSet | Mapping[str, Any],
        spatial_dims: int = 2,
        foreground: Foreground = "auto",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, LoadLabels(labels, spatial_dims, foreground), allow_missing_keys)


LoadLabelsD = LoadLabelsDict = LoadLabelsd
