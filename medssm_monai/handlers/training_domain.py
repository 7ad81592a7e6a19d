"""What a training trains its weights for, measured from its images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..bundle.domain_rules import DOMAIN_TEXT, IMAGE_KEYS
from ..data.fingerprint import Fingerprint
from ..transforms import LoadImage2D, LoadImage3D
from ..transforms.unlike_training import UnitFacts

__all__ = ["TrainingDomain"]

logger = logging.getLogger(__name__)
MOST = {2: 256, 3: 64}  # images that are read once more; volumes take longer
LONGEST_NAME = 150


class TrainingDomain:
    """Give the ``domain`` of a settings file: a line in words and a fingerprint of the training images.

    The images are read once more, as they are in their files: 256 of them at most (volumes 64), evenly chosen from the
    datalist, when the domain is first asked for. No random number is drawn.

    Args:
        data: items of the training part, with ``image``, or with ``image_a`` and ``image_b`` of pairs: file names,
            addresses or arrays.
        data_name: what the items are, for the text.
        text: what the weights are for, one line such as "frontal chest X-rays of children, 28 x 28 pixels, gray"; None
            makes one from name, number, sizes and channels.
        spatial_dims: 2 or 3.
        intensity_range: value that stands for 1.0 in 16-bit images.
        load: reads an image as it is in its file; None takes the loaders of this package for pictures and volumes of
            one channel.

    Raises:
        ValueError: a text that no settings file may hold (at once); no items, items without image.
        ImageReadError: an image that cannot be read (when the domain is asked for).
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        data_name: str | None = None,
        text: str | None = None,
        spatial_dims: int = 2,
        intensity_range: float | None = None,
        load: Callable[[Any], torch.Tensor] | None = None,
    ) -> None:
        if text is not None and not DOMAIN_TEXT.fits(text):
            raise ValueError(f"domain_text is {text!r}; expected {DOMAIN_TEXT.expected}, or None to have one made.")
        self.data, self.data_name, self.text, self.spatial_dims = data, data_name, text, spatial_dims
        channels, scale = None, False  # as in the file: other channels would hide what has color
        self.load: Callable[[Any], torch.Tensor] = load or (
            LoadImage2D("image", channels, scale, intensity_range)
            if spatial_dims == 2
            else LoadImage3D(channels, scale, intensity_range)
        )
        self.facts = UnitFacts(intensity_range)
        self._measured: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        """``text`` and ``fingerprints``, as the settings' key ``domain`` holds them."""
        if self._measured is None:
            found = self._fingerprints()
            text = self.text or self._made(found)
            logger.info("the weights are trained for: %s", text)
            self._measured = {"text": text, "fingerprints": {key: one.as_dict() for key, one in found.items()}}
        return self._measured

    def _fingerprints(self) -> dict[str, Fingerprint]:
        count = len(self.data)
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST[self.spatial_dims])).round().astype(int))
        items = [self.data[int(number)] for number in chosen]
        keys = [key for key in IMAGE_KEYS if items and key in items[0]]
        if not keys:
            raise ValueError(f"{count} training items, none with {' or '.join(IMAGE_KEYS)}: no domain can be measured.")
        return {key: Fingerprint.of([self.facts(self.load(item[key])) for item in items], count) for key in keys}

    def _made(self, found: Mapping[str, Fingerprint]) -> str:
        first = next(iter(found.values()))
        what = "images" if len(found) == 1 else "pairs"
        elements = "pixels" if self.spatial_dims == 2 else "voxels"
        colors = " and ".join(dict.fromkeys(one.color_text for one in found.values()))
        name = (self.data_name or "a set without a name")[:LONGEST_NAME]
        return f"{what} like the {first.images} of {name}, {first.size_text} {elements}, {colors}"
