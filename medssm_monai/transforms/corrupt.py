"""What images suffer on their way to a network: one corruption of a stated strength, for evaluations of robustness."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import (
    GaussianSmooth,
    MapTransform,
    RandCoarseDropout,
    RandGaussianNoise,
    ScaleIntensity,
    Transform,
)
from monai.utils import convert_to_dst_type

__all__ = ["CORRUPTIONS", "Corrupt", "CorruptD", "CorruptDict", "Corruptd"]

TRUNCATED = 4.0  # standard deviations that MONAI's Gaussian kernel reaches
ARGUMENTS = {"kind", "strength", "seed"}
PATCH = 4  # missing patches have a quarter of the image's sides

CORRUPTIONS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "noise": ("a standard deviation above 0, as a share of the range", lambda strength: strength > 0),
    "blur": ("a standard deviation above 0, in pixels", lambda strength: strength > 0),
    "brightness": ("a change from -1 (black) on, not 0; 0.2 is a fifth brighter", lambda s: s >= -1 and s != 0),
    "jpeg": ("a quality, a whole number from 1 (worst) to 95", lambda s: 1 <= s <= 95 and s == int(s)),
    "missing": ("a number of patches, 1 or more", lambda strength: strength >= 1 and strength == int(strength)),
}
"""Kind -> what its strength is, and whether a number is one."""


class Corrupt(Transform):
    """Corrupt an image ``(C, *spatial)`` with values in [0, 1]; the result is cut to [0, 1] again.

    Put it behind loading and resizing and before the normalization: strengths refer to the range [0, 1] and to the
    pixels that the network sees.

    * ``noise``: Gaussian noise of the standard deviation ``strength``, drawn for each pixel and channel;
    * ``blur``: Gaussian of ``strength`` pixels standard deviation; beyond the border the outermost pixels go on;
    * ``brightness``: values times ``1 + strength``;
    * ``jpeg``: compressed by Pillow with the quality ``strength``, 8 bits per channel; 2D. Three channels are one color
      file, any other number gray files, one for each: the sources of a pair are files of their own;
    * ``missing``: ``strength`` patches of a quarter of the image's sides, at random places where they may overlap, are
      0 in all channels.

    What is random depends on ``seed`` and on the image's values alone: not on the order of images, nor on workers.

    Args:
        kind: a key of :data:`CORRUPTIONS`.
        strength: see above.
        seed: of the noise and of the places of patches, 0 or more.

    Raises:
        ValueError: unknown kind, a strength or seed out of range; when called, values outside [0, 1], and for ``jpeg``
            a volume.

    Example:
        >>> Corrupt("brightness", 0.5)(torch.tensor([[[0.2, 0.8]]]))
        tensor([[[0.3000, 1.0000]]])
    """

    def __init__(self, kind: str, strength: float, seed: int = 0) -> None:
        if kind not in CORRUPTIONS:
            raise ValueError(f"kind must be one of {', '.join(CORRUPTIONS)}, got {kind!r}.")
        expected, fits = CORRUPTIONS[kind]
        number = isinstance(strength, (int, float)) and not isinstance(strength, bool) and math.isfinite(strength)
        if not number or not fits(strength):
            raise ValueError(f"the strength of {kind!r} must be {expected}; got {strength!r}.")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"seed must be a whole number, 0 or more; got {seed!r}.")
        self.kind, self.strength, self.seed = kind, strength, seed

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        values = torch.as_tensor(img).detach().as_subclass(torch.Tensor).float().clone()
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"values must lie in [0, 1] before they are corrupted, got {low:.4g} to {high:.4g}; put Corrupt behind "
                "the loader and before the normalization."
            )
        corrupted = getattr(self, f"_{self.kind}")(values).clamp(0, 1)
        return convert_to_dst_type(corrupted.as_subclass(torch.Tensor), dst=img)[0]  # with the metadata of the image

    def _state(self, values: torch.Tensor) -> np.random.RandomState:
        own = zlib.crc32(np.ascontiguousarray(values.cpu().numpy()).tobytes())
        return np.random.RandomState(np.random.SeedSequence([self.seed, own]).generate_state(4))

    def _noise(self, values: torch.Tensor) -> torch.Tensor:
        noise = RandGaussianNoise(prob=1.0, std=self.strength, sample_std=False)
        noise.set_random_state(state=self._state(values))
        return torch.as_tensor(noise(values))

    def _blur(self, values: torch.Tensor) -> torch.Tensor:
        reach = math.ceil(TRUNCATED * self.strength) + 1  # MONAI's filter takes 0 beyond the border
        padded = torch.nn.functional.pad(values, [reach, reach] * (values.ndim - 1), mode="replicate")
        inner = (slice(None), *(slice(reach, reach + size) for size in values.shape[1:]))
        return GaussianSmooth(self.strength)(padded)[inner]

    def _brightness(self, values: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(ScaleIntensity(minv=None, maxv=None, factor=self.strength)(values))

    def _jpeg(self, values: torch.Tensor) -> torch.Tensor:
        if values.ndim != 3:
            raise ValueError(
                f"JPEG takes images (C, H, W), got {tuple(values.shape)}; leave this corruption out for volumes."
            )
        files = [values] if len(values) == 3 else values.split(1)
        return torch.cat([self._through_jpeg(file) for file in files])

    def _through_jpeg(self, values: torch.Tensor) -> torch.Tensor:
        from PIL import Image

        bits = (values * 255).round().byte().cpu().numpy()
        stream = io.BytesIO()
        picture = Image.fromarray(bits[0] if len(bits) == 1 else np.moveaxis(bits, 0, -1))
        picture.save(stream, "JPEG", quality=int(self.strength))
        read = np.asarray(Image.open(stream), dtype=np.float32).reshape(*bits.shape[1:], len(bits))
        return torch.from_numpy(np.moveaxis(read, -1, 0) / 255).to(values.device)

    def _missing(self, values: torch.Tensor) -> torch.Tensor:
        sides = [max(size // PATCH, 1) for size in values.shape[1:]]
        drop = RandCoarseDropout(holes=int(self.strength), spatial_size=sides, fill_value=0.0, prob=1.0)
        drop.set_random_state(state=self._state(values))
        return torch.as_tensor(drop(values))


class Corruptd(MapTransform):
    """Dictionary version of :class:`Corrupt`, which an evaluation switches on by one setting.

    Args:
        keys: images ``(C, *spatial)`` in [0, 1].
        corruption: arguments of :class:`Corrupt`, ``{"kind": "noise", "strength": 0.1, "seed": 0}``; None leaves the
            images as they are.
        allow_missing_keys: pass over keys that are not there.
        own_range: take images of any values: the range of each channel, from its minimum to its maximum, stands for
            [0, 1], and the values come back in it.

    Raises:
        ValueError: no such arguments, and as :class:`Corrupt`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        corruption: Mapping[str, Any] | None = None,
        allow_missing_keys: bool = False,
        own_range: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.own_range = own_range
        self.corrupt: Corrupt | None = None
        if corruption is not None:
            if not isinstance(corruption, Mapping) or not {"kind", "strength"} <= set(corruption) <= ARGUMENTS:
                raise ValueError(
                    f"a corruption is a kind, a strength and perhaps a seed, {{'kind': 'noise', 'strength': 0.1}}; got "
                    f"{corruption!r}."
                )
            self.corrupt = Corrupt(**corruption)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            if self.corrupt is not None:
                result[key] = self._of_own_range(result[key]) if self.own_range else self.corrupt(result[key])
        return result

    def _of_own_range(self, img: torch.Tensor) -> torch.Tensor:
        assert self.corrupt is not None
        axes = tuple(range(1, img.ndim))
        low, high = img.amin(axes, keepdim=True), img.amax(axes, keepdim=True)
        span = torch.where(high > low, high - low, torch.ones_like(low))
        return self.corrupt(((img - low) / span).clamp(0, 1)) * span + low


CorruptD = CorruptDict = Corruptd
