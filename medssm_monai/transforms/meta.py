"""Give a plain tensor the metadata of the image it was computed from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from copy import deepcopy
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

__all__ = ["CopyMetaD", "CopyMetaDict", "CopyMetad"]


class CopyMetad(MapTransform):
    """Make each entry a ``MetaTensor`` with the metadata and the applied transforms of a reference image.

    MONAI's ``Invertd`` passes over plain tensors with no more than a warning, and some operators (compiled kernels,
    exported networks) return plain tensors. Put this before it. Entries that are MetaTensors with metadata of their
    own are left alone.

    Args:
        keys: results, usually ``"pred"``.
        ref_key: the loaded image.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        TypeError: the reference carries no metadata.
    """

    def __init__(self, keys: KeysCollection, ref_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ref_key = ref_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        reference = result[self.ref_key]
        if not isinstance(reference, MetaTensor):
            raise TypeError(
                f"{self.ref_key!r} is a {type(reference).__name__} without metadata; load it with LoadImage2Dd and "
                "keep metadata tracking on (monai.data.set_track_meta)."
            )
        for key in self.key_iterator(result):
            value = result[key]
            if isinstance(value, MetaTensor) and "filename_or_obj" in value.meta:
                continue
            result[key] = MetaTensor(
                torch.as_tensor(value),
                meta=deepcopy(reference.meta),
                applied_operations=deepcopy(reference.applied_operations),
            )
        return result


CopyMetaD = CopyMetaDict = CopyMetad
