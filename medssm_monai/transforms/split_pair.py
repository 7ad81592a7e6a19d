"""One stacked image as a pair, for hosts that hand a network a single tensor."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple_rep

__all__ = ["SplitPairD", "SplitPairDict", "SplitPaird"]


class SplitPaird(MapTransform):
    """Take the two sources of a fusion out of one image that holds the channels of both, source A first.

    The metadata of a fusion bundle declare a single input, ``image``, because MONAI's verification and MONAI Deploy
    feed one tensor. Where the sources come as two files, there is nothing to do, and nothing is done.

    Args:
        keys: the two sources A and B.
        channels: of source A and B, or of both.
        image_key: the stacked image, ``(channels of A + channels of B, *spatial)``; it is taken apart and removed.
        allow_missing_keys: as everywhere in MONAI.

    Raises:
        ValueError: not two keys, or another number of channels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: int | Sequence[int] = 1,
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 2:
            raise ValueError(f"SplitPaird takes the keys of source A and source B, got {self.keys}.")
        self.channels, self.image_key = ensure_tuple_rep(channels, 2), image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.image_key not in result or any(key in result for key in self.keys):
            return result
        image = result.pop(self.image_key)
        first, second = self.channels
        if image.shape[0] != first + second:
            raise ValueError(
                f"{self.image_key!r} has {image.shape[0]} channels, expected {first} of source A and {second} of "
                "source B, stacked."
            )
        result[self.keys[0]], result[self.keys[1]] = image[:first], image[first:]
        return result


SplitPairD = SplitPairDict = SplitPaird
