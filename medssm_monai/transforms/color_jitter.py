"""Random brightness, contrast, saturation and hue; MONAI 1.6.1 has no transform of colours."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type

from .color import LUMA

__all__ = ["RandColourJitter", "RandColourJitterD", "RandColourJitterDict", "RandColourJitterd"]


class RandColourJitter(RandomizableTransform):
    """Change brightness, contrast, saturation and hue, in this order, each by a value of its own.

    Defined like torchvision's ``ColorJitter`` (which shuffles the order): brightness multiplies, contrast blends with
    the image's mean luminance, saturation with each pixel's luminance, by factors uniform in ``1 ± value``; hue is
    turned by a share of the circle uniform in ``± hue`` (scikit-image's HSV). Results are cut to [0, 1]. Saturation and
    hue pass over images that have not three channels.

    Args:
        prob: probability that anything is changed.
        brightness, contrast, saturation: largest change of the factor, 0 to 1.
        hue: largest turn, 0 to 0.5.

    Raises:
        ValueError: values outside these ranges.
    """

    def __init__(
        self,
        prob: float = 0.5,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.02,
    ) -> None:
        spans = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        wrong = {name: value for name, value in spans.items() if not 0 <= value <= (0.5 if name == "hue" else 1)}
        if wrong or not 0 <= prob <= 1:
            raise ValueError(f"prob and changes must be in [0, 1], hue in [0, 0.5], got prob {prob}, {wrong or spans}.")
        super().__init__(prob)
        self.spans = spans
        self.factors = {name: float(name != "hue") for name in spans}  # these change nothing

    def randomize(self, data: Any = None) -> None:
        """Draw whether to change, and the factors."""
        super().randomize(None)
        if self._do_transform:
            self.factors = {
                name: (name != "hue") + self.R.uniform(-1.0, 1.0) * span for name, span in self.spans.items()
            }

    def __call__(self, img: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """``(C, *spatial)`` in [0, 1] to the same shape and type."""
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        pixels = (img.as_tensor() if isinstance(img, MetaTensor) else torch.as_tensor(img)).float()
        pixels = (pixels * self.factors["brightness"]).clamp(0, 1)
        pixels = _blend(pixels, _luminance(pixels).mean(), self.factors["contrast"])
        if len(pixels) == 3:
            pixels = _turn_hue(_blend(pixels, _luminance(pixels), self.factors["saturation"]), self.factors["hue"])
        return convert_to_dst_type(pixels, dst=img)[0]


def _luminance(pixels: torch.Tensor) -> torch.Tensor:
    """``(1, *spatial)``; the mean of channels that are not red, green and blue."""
    if len(pixels) != 3:
        return pixels.mean(0, keepdim=True)
    return sum(weight * channel for weight, channel in zip(LUMA, pixels, strict=True))[None]


def _blend(pixels: torch.Tensor, other: torch.Tensor, factor: float) -> torch.Tensor:
    return (factor * pixels + (1 - factor) * other).clamp(0, 1)


def _turn_hue(pixels: torch.Tensor, turn: float) -> torch.Tensor:
    from skimage.color import hsv2rgb, rgb2hsv

    if turn == 0 or bool((pixels == pixels[:1]).all()):  # grey has no hue
        return pixels
    hsv = rgb2hsv(pixels.cpu().numpy(), channel_axis=0)
    hsv[0] = (hsv[0] + turn) % 1.0
    return torch.from_numpy(hsv2rgb(hsv, channel_axis=0)).to(pixels)


class RandColourJitterd(MapTransform, RandomizableTransform):
    """Dictionary version of :class:`RandColourJitter`; all keys are changed alike.

    Args:
        keys: images ``(C, *spatial)`` in [0, 1].
        prob, brightness, contrast, saturation, hue: see :class:`RandColourJitter`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.02,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.jitter = RandColourJitter(prob, brightness, contrast, saturation, hue)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandColourJitterd:
        super().set_random_state(seed, state)
        self.jitter.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.jitter.randomize()
        for key in self.key_iterator(result):
            result[key] = self.jitter(result[key], randomize=False)
        return result


RandColourJitterD = RandColourJitterDict = RandColourJitterd
