"""Channels in front, whoever has loaded the image: our loaders, MONAI's, or a host that hands over an array."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import convert_to_tensor

from .each_key import EachKeyd

__all__ = ["ToChannelFirst", "ToChannelFirstD", "ToChannelFirstDict", "ToChannelFirstd"]

MOST_CHANNELS = 4
NO_CHANNEL = "no_channel"
DICOM_SPACING = "row_pixel_spacing"


class ToChannelFirst(Transform):
    """Bring an image to ``(C, *spatial)``, as MONAI's ``EnsureChannelFirst`` does where the metadata tell the axis.

    Hosts that load the image themselves often do not tell it. MONAI Deploy drops the loaders of a bundle and hands over

    ===========================================  =====================================================================
    ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``    a picture, without metadata or with ``"no_channel"``; C is at most 4
    ``(W, H, 1)``, spacing in the metadata        a slice that came as DICOM: rows and columns are exchanged
    ``(X, Y, Z)``, ``(X, Y, Z, C)``               a volume
    ===========================================  =====================================================================

    Args:
        spatial_dims: 2 or 3.

    Raises:
        ValueError: other axes: several slices for a network of pictures, or no axis that may be the channels.
    """

    def __init__(self, spatial_dims: int) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}.")
        self.spatial_dims = spatial_dims

    def __call__(self, img: np.ndarray | torch.Tensor) -> torch.Tensor:
        values = convert_to_tensor(img, track_meta=isinstance(img, MetaTensor))
        meta = values.meta if isinstance(values, MetaTensor) else {}
        axis = meta.get("original_channel_dim", NO_CHANNEL)
        stated = not isinstance(axis, str) and not np.isnan(float(axis))
        if self.spatial_dims == 2 and values.ndim == 3 and not stated and DICOM_SPACING in meta:
            if values.shape[-1] != 1:
                raise ValueError(
                    f"got {values.shape[-1]} slices of {tuple(values.shape[:2])}, expected one picture; hand over one "
                    "slice at a time."
                )
            values = values[..., 0].transpose(0, 1)
        if values.ndim == self.spatial_dims:
            values = values[None]
        elif values.ndim == self.spatial_dims + 1:
            values = values.moveaxis(int(axis) if stated else self._channel_axis(values), 0)
        else:
            raise ValueError(
                f"got an image of shape {tuple(values.shape)}, expected {self.spatial_dims} spatial axes and at most "
                "one of channels."
            )
        if isinstance(values, MetaTensor):
            values.meta["original_channel_dim"] = 0
        return values

    @staticmethod
    def _channel_axis(values: torch.Tensor) -> int:
        for axis in (-1, 0):
            if values.shape[axis] <= MOST_CHANNELS:
                return axis
        raise ValueError(
            f"got an image of shape {tuple(values.shape)}: neither its first nor its last axis can be channels (at "
            f"most {MOST_CHANNELS})."
        )


class ToChannelFirstd(EachKeyd):
    """Dictionary version of :class:`ToChannelFirst`.

    Args:
        keys: images.
        spatial_dims: see :class:`ToChannelFirst`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, spatial_dims: int, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, ToChannelFirst(spatial_dims), allow_missing_keys)


ToChannelFirstD = ToChannelFirstDict = ToChannelFirstd
