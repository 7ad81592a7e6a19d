"""One entry under several names, without copies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

__all__ = ["ShareItemsD", "ShareItemsDict", "ShareItemsd"]


class ShareItemsd(MapTransform):
    """Give entries a second name each. MONAI's ``CopyItemsd`` copies, which takes gigabytes for the probabilities of a
    large volume; this is for entries that later transforms replace and do not change.

    Args:
        keys: entries.
        names: further names, one for each.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        ValueError: other than one name for each key.
    """

    def __init__(self, keys: KeysCollection, names: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names = ensure_tuple(names)
        if len(self.names) != len(self.keys):
            raise ValueError(f"ShareItemsd needs a name for each of {self.keys}, got {self.names}.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, name in self.key_iterator(result, self.names):
            result[name] = result[key]
        return result


ShareItemsD = ShareItemsDict = ShareItemsd
