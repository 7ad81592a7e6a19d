"""Colour sources of a fusion: luminance out, chroma kept, colour put together again.

Full-range YCbCr of ITU-R BT.601 (JPEG/JFIF): ``Y = 0.299 R + 0.587 G + 0.114 B``, ``Cb = (B - Y) / 1.772 + 0.5``,
``Cr = (R - Y) / 1.402 + 0.5``, all in [0, 1].
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

__all__ = [
    "ExtractLuminanceD",
    "ExtractLuminanceDict",
    "ExtractLuminanced",
    "RGBToYCbCr",
    "RecombineColourD",
    "RecombineColourDict",
    "RecombineColourd",
    "YCbCrToRGB",
]

LUMA = (0.299, 0.587, 0.114)
CB_SPAN, CR_SPAN = 2 * (1 - LUMA[2]), 2 * (1 - LUMA[0])


class RGBToYCbCr(Transform):
    """``(3, *spatial)`` RGB in [0, 1] to Y, Cb, Cr in [0, 1].

    Raises:
        ValueError: when the first axis has no three channels.
    """

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        red, _, blue = _channels(img, 3, "RGB")
        y = sum(weight * channel for weight, channel in zip(LUMA, img, strict=True))
        return torch.stack([y, (blue - y) / CB_SPAN + 0.5, (red - y) / CR_SPAN + 0.5])


class YCbCrToRGB(Transform):
    """``(3, *spatial)`` Y, Cb, Cr to RGB, the exact inverse of :class:`RGBToYCbCr`.

    Args:
        clip: cut the result to [0, 1]; a fused Y with the chroma of a source may leave the cube of colours.

    Raises:
        ValueError: when the first axis has no three channels.
    """

    def __init__(self, clip: bool = True) -> None:
        self.clip = clip

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        y, cb, cr = _channels(img, 3, "YCbCr")
        red, blue = y + CR_SPAN * (cr - 0.5), y + CB_SPAN * (cb - 0.5)
        rgb = torch.stack([red, (y - LUMA[0] * red - LUMA[2] * blue) / LUMA[1], blue])
        return rgb.clamp(0, 1) if self.clip else rgb


class ExtractLuminanced(MapTransform):
    """Replace colour sources by their luminance ``(1, *spatial)`` and keep Cb, Cr ``(2, *spatial)`` beside it.

    Args:
        keys: RGB sources ``(3, *spatial)`` in [0, 1].
        chroma_postfix: the chroma of ``key`` is stored under ``key + chroma_postfix``.
        allow_grey: pass over grey sources ``(1, *spatial)`` (no chroma is stored); otherwise they are an error.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        ValueError: grey where colour is expected, or another number of channels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        chroma_postfix: str = "_chroma",
        allow_grey: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.chroma_postfix, self.allow_grey = chroma_postfix, allow_grey
        self.convert = RGBToYCbCr()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            if result[key].shape[0] == 1 and self.allow_grey:
                continue
            if result[key].shape[0] == 1:
                raise ValueError(
                    f"{key!r} is grey, {tuple(result[key].shape)}, where a colour source is expected; "
                    "leave ExtractLuminanced out for it, or set allow_grey=True."
                )
            converted = self.convert(result[key])
            result[key], result[f"{key}{self.chroma_postfix}"] = converted[:1], converted[1:]
        return result


class RecombineColourd(MapTransform):
    """Fused luminance and the chroma of a source to RGB ``(3, *spatial)`` in [0, 1].

    Args:
        keys: fused images ``(1, *spatial)``, usually ``"pred"``.
        chroma_key: Cb, Cr ``(2, *spatial)`` from :class:`ExtractLuminanced`.
        allow_missing_chroma: leave the fused image grey where there is no chroma (grey sources); otherwise an error.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        KeyError: there is no chroma.
        ValueError: shapes that do not fit.
    """

    def __init__(
        self,
        keys: KeysCollection,
        chroma_key: str,
        allow_missing_chroma: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.chroma_key, self.allow_missing_chroma = chroma_key, allow_missing_chroma
        self.convert = YCbCrToRGB()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.chroma_key not in result:
            if self.allow_missing_chroma:
                return result
            raise KeyError(f"no chroma under {self.chroma_key!r}; put ExtractLuminanced on the colour source before.")
        chroma = result[self.chroma_key]
        for key in self.key_iterator(result):
            fused = result[key]
            if fused.shape[0] != 1 or chroma.shape[0] != 2 or fused.shape[1:] != chroma.shape[1:]:
                raise ValueError(
                    f"{key!r} {tuple(fused.shape)} and {self.chroma_key!r} {tuple(chroma.shape)} do not fit: expected "
                    "(1, *spatial) and (2, *spatial) of one size; invert spatial transforms before recombining."
                )
            result[key] = self.convert(torch.cat([fused, chroma.to(fused)]))
        return result


def _channels(img: torch.Tensor, count: int, name: str) -> tuple[torch.Tensor, ...]:
    if img.ndim < 2 or img.shape[0] != count:
        raise ValueError(f"expected {name} channels first, ({count}, *spatial), got {tuple(img.shape)}.")
    return tuple(img)


ExtractLuminanceD = ExtractLuminanceDict = ExtractLuminanced
RecombineColourD = RecombineColourDict = RecombineColourd
