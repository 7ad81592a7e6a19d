"""Intensities of volumes as a network takes them, each channel by its own rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import NormalizeIntensity, Transform

from ..data.volume_plan import check_intensity
from .each_key import EachKeyd

__all__ = [
    "NormalizeChannels",
    "NormalizeChannelsD",
    "NormalizeChannelsDict",
    "NormalizeChannelsd",
]


class NormalizeChannels(Transform):
    """Bring the channels of ``(C, *spatial)`` to a like range, float32; the image itself is left as it is.

    ``ct`` clips to ``low`` and ``high``, subtracts ``mean`` and divides by ``std``, in the units of the file;
    ``zscore`` takes mean and standard deviation of the channel's own voxels that are not 0; zeros stay 0 (MONAI's
    ``NormalizeIntensity(nonzero=True)``). A constant channel becomes 0.

    Args:
        intensity: one description per channel, as :func:`~medssm_monai.data.plan_volumes` gives them.

    Raises:
        ValueError: unknown descriptions; an image of another number of channels.
    """

    def __init__(self, intensity: Sequence[Mapping[str, Any]]) -> None:
        self.intensity = check_intensity(intensity)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        if img.shape[0] != len(self.intensity):
            raise ValueError(
                f"{getattr(img, 'meta', {}).get('filename_or_obj', 'image')}: {img.shape[0]} channel(s), but intensity "
                f"describes {len(self.intensity)}; describe every channel once."
            )
        result = img.to(torch.float32, copy=True)
        for number, how in enumerate(self.intensity):
            result[number] = _clipped(result[number], how) if how["kind"] == "ct" else _standardized(result[number])
        return result


def _clipped(channel: torch.Tensor, how: Mapping[str, Any]) -> torch.Tensor:
    channel = channel.clamp(how["low"], how["high"])
    return torch.as_tensor(NormalizeIntensity(subtrahend=how["mean"], divisor=how["std"])(channel))


def _standardized(channel: torch.Tensor) -> torch.Tensor:
    there = channel[channel != 0]
    if not len(there) or there.min() == there.max():  # rounding of the mean would leave a rest
        return torch.zeros_like(channel)
    return torch.as_tensor(NormalizeIntensity(nonzero=True)(channel))


class NormalizeChannelsd(EachKeyd):
    """Dictionary version of :class:`NormalizeChannels`.

    Args:
        keys: images ``(C, *spatial)``.
        intensity: see :class:`NormalizeChannels`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self, keys: KeysCollection, intensity: Sequence[Mapping[str, Any]], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, NormalizeChannels(intensity), allow_missing_keys)


NormalizeChannelsD = NormalizeChannelsDict = NormalizeChannelsd
