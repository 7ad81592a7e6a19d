"""Intensities of any file or array in [0, 1], with the channels that the network takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform

from ..data.readers.image import to_channels
from ..data.readers.intensity import DECLARED_RANGE, FULL_RANGE, IntensityRange, full_range_of_type, to_unit_range
from .each_key import EachKeyd

__all__ = ["ToUnitRange", "ToUnitRangeD", "ToUnitRangeDict", "ToUnitRanged"]


class ToUnitRange(Transform):
    """Bring an image ``(C, *spatial)`` to the wanted channels and its values to [0, 1], float32.

    What stands for 1.0 is what the loader found in the file (``full_range`` of the metadata of
    :class:`LoadImage2D` and :class:`LoadImage3D`), else what the type says (255 of uint8, 65535 of uint16, 1 of bool);
    floating point and other integers go by the image's own minimum and maximum, a constant image becomes 0.

    Args:
        channels: 1 (luma), 3 (gray repeated) or None (as it is); a fourth channel is transparency and is dropped.
        intensity_range: value that stands for 1.0 in 16-bit images, 4095 for 12 bits; None goes by the header, and
            takes 65535 with a warning where it is silent and the values use 14 bits or fewer.
        warn: False leaves that warning to another transform, which takes the same image.

    Raises:
        ValueError: NaN or infinite values; values above ``intensity_range``; bad arguments.
    """

    def __init__(self, channels: int | None = None, intensity_range: float | None = None, warn: bool = True) -> None:
        if channels not in (1, 3, None):
            raise ValueError(f"channels must be 1, 3 or None (as it is), got {channels!r}.")
        self.channels, self.intensity = channels, IntensityRange(intensity_range, warn)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        meta = img.meta if isinstance(img, MetaTensor) else {}
        name = meta.get("filename_or_obj", "image")
        full_range = _stated(meta, FULL_RANGE, full_range_of_type(img.dtype))
        values = img.to(torch.float32, copy=True)[: 3 if img.shape[0] == 4 else None]
        if not torch.isfinite(values).all():
            raise ValueError(f"{name}: NaN or infinite values; repair the image or leave it out.")
        largest = float(values.max())
        if self.channels is not None and values.shape[0] != self.channels:
            mixed = to_channels(values.moveaxis(0, -1).numpy(), self.channels)
            first = torch.from_numpy(np.moveaxis(mixed, -1, 0).copy())
            values = MetaTensor(first, meta=values.meta) if isinstance(values, MetaTensor) else first
        values = to_unit_range(values, self.intensity(name, full_range, _stated(meta, DECLARED_RANGE, None), largest))
        if isinstance(values, MetaTensor):
            values.meta |= {FULL_RANGE: 1.0, DECLARED_RANGE: math.nan}
        return values


def _stated(meta: Mapping[str, Any], key: str, default: float | None) -> float | None:
    if key not in meta:
        return default
    return None if math.isnan(float(meta[key])) else float(meta[key])


class ToUnitRanged(EachKeyd):
    """Dictionary version of :class:`ToUnitRange`.

    Args:
        keys: images ``(C, *spatial)``.
        channels, intensity_range: see :class:`ToUnitRange`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: int | None = None,
        intensity_range: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, ToUnitRange(channels, intensity_range), allow_missing_keys)


ToUnitRangeD = ToUnitRangeDict = ToUnitRanged
