"""A dataset that hands on which items could not be read, instead of ending the run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import Dataset

from ..utils.errors import Failure

__all__ = ["READ", "TolerantDataset", "keep_items"]

READ = "read"


class TolerantDataset(Dataset):
    """MONAI's ``Dataset``, but an item that cannot be read or prepared becomes a
    :class:`~medssm_monai.utils.errors.Failure`.

    For :class:`~medssm_monai.engines.BulkEvaluator`, with ``collate_fn`` :func:`keep_items` of the loader, any batch
    size and any number of workers.

    Args:
        data: items ``{"image": file, ...}``; a pair has ``image_a`` and ``image_b``.
        transform: the preprocessing.
    """

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            return Failure.of(_file(self.data[index], index), READ, error)


def _file(item: Mapping[str, Any], index: int) -> str:
    names = (item.get(key) for key in ("image", "image_a", "name"))
    return next((os.fspath(name) for name in names if isinstance(name, (str, os.PathLike))), f"item {index}")


def keep_items(items: Sequence[Any]) -> list[Any]:
    """The items of a batch as they are, for a loader's ``collate_fn``."""
    return list(items)
