"""The dictionary version of a transform that takes one image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["EachKeyd"]


class EachKeyd(MapTransform):
    """Apply a transform to each key on its own.

    Args:
        keys: entries that are replaced by what the transform makes of them.
        transform: takes one entry.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, transform: Callable[[Any], Any], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result
