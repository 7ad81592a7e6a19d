"""Prepared items kept in memory as long as they fit, else on disk."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.data import CacheDataset, Dataset, PersistentDataset
from monai.transforms import Compose, RandomizableTrait, Transform
from monai.utils import enums

from ..utils.object_digest import object_digest
from ..utils.shown_names import shown_name
from ..utils.versions import package_versions
from .readers.segment_labels import SegmentFiles
from .readers.series_files import SeriesFiles

__all__ = ["DiskCache", "cached_dataset"]

logger = logging.getLogger(__name__)
GIB = 2**30
WORKERS = 2
PREFIX = "prepared-"
VERSIONS = ("medssm-monai", "monai", "torch", "numpy")
Transforms = Callable[[Any], Any] | Sequence[Callable[[Any], Any]]
# torch.load takes nothing but what is named as harmless: here what arrays in the metadata of a file consist of, and
# the words that MONAI's transforms note down for Invertd.
_ARRAYS = [np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0], np.ndarray, np.dtype]
_TYPES = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
_WORDS = [found for found in vars(enums).values() if isinstance(found, type) and issubclass(found, Enum)]
HARMLESS: list[Any] = [*_ARRAYS, *_TYPES, *_WORDS, enums.TraceKeys]


class DiskCache(PersistentDataset):
    """MONAI's ``PersistentDataset`` with metadata, whose files may hold NumPy's arrays of numbers and MONAI's words
    beside tensors; nothing else is unpickled. A damaged file is made again.

    Args:
        data: items.
        transform: everything up to the first random transform is kept.
        cache_dir: folder of the files.
    """

    def __init__(self, data: Sequence[Any], transform: Transforms, cache_dir: PathLike) -> None:
        self.folder = Path(cache_dir)
        super().__init__(data, transform, self.folder, track_meta=True)

    def _cachecheck(self, item_transformed: Any) -> Any:
        file = self.folder / f"{self.hash_func(item_transformed).decode()}{self.transform_hash}.pt"
        if file.is_file() and not zipfile.is_zipfile(file):  # cut off: torch.load raises many kinds for it
            logger.warning("%s is damaged, as by a run that was ended; it is made again", shown_name(str(file)))
            file.unlink(missing_ok=True)
        with torch.serialization.safe_globals(HARMLESS):
            return super()._cachecheck(item_transformed)


def cached_dataset(
    data: Sequence[Any],
    transform: Transforms,
    cache_gib: float = 4.0,
    cache_dir: PathLike | None = None,
    cache_rate: float = 1.0,
    item_bytes: int | None = None,
) -> Dataset:
    """A dataset that prepares each item once, up to the first random transform.

    Items lie in memory (MONAI's ``CacheDataset``) where all of them take ``cache_gib`` or less, else on disk. That is
    estimated: the first item is prepared, and its bytes are multiplied by the number of items that are to be kept.

    On disk they lie in a subfolder of ``cache_dir``, whose name follows from the deterministic transforms with their
    settings, the versions of the packages, and path, size and date of every file: whatever of these changes, nothing
    old is used. Subfolders of earlier settings may be removed at any time.

    Args:
        data: items, dictionaries with files.
        transform: the preprocessing, deterministic transforms first.
        cache_gib: most memory for the items, in GiB; 0 keeps them on disk always.
        cache_dir: folder for what does not fit.
        cache_rate: share of the items that are kept in memory; the others are prepared each time.
        item_bytes: of one prepared item, where it is known; nothing is prepared then.

    Raises:
        ValueError: the items do not fit and ``cache_dir`` is None; bad arguments.
        OSError: ``cache_dir`` cannot be written.
    """
    if cache_gib < 0 or not 0 <= cache_rate <= 1 or (item_bytes is not None and item_bytes < 0):
        raise ValueError(
            f"expected cache_gib >= 0, cache_rate from 0 to 1, item_bytes >= 0; got {cache_gib}, {cache_rate}, "
            f"{item_bytes}."
        )
    compose = transform if isinstance(transform, Compose) else Compose(transform)
    end = compose.get_index_of_first(
        lambda step: isinstance(step, RandomizableTrait) or not isinstance(step, Transform)
    )
    name = _folder_name(data, compose, end)  # before a transform is used, which may leave a trace in it
    if item_bytes is None:
        item_bytes = _bytes(compose(deepcopy(data[0]), end=end, threading=True)) if len(data) else 0
    kept = int(len(data) * cache_rate)
    needed = f"{kept} prepared items of {item_bytes / 2**20:.1f} MiB take {kept * item_bytes / GIB:.2f} GiB"
    if cache_gib > 0 and kept * item_bytes <= cache_gib * GIB:
        logger.info("%s of the %g GiB of memory for them: kept in memory", needed, cache_gib)
        return CacheDataset(data, compose, cache_rate=cache_rate, num_workers=WORKERS, progress=False)
    if cache_dir is None:
        raise ValueError(
            f"{needed}, more than cache_gib={cache_gib:g} allows in memory, and there is no folder to keep them in; "
            "name one with cache_dir, raise cache_gib if the memory is there, or lower cache_rate."
        )
    folder = Path(cache_dir).expanduser() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cache_dir {cache_dir} cannot be written ({error}); name a writable folder.") from error
    logger.info("%s, %g GiB of memory are for them: kept on disk in %s", needed, cache_gib, folder)
    return DiskCache(data, compose, folder)


def _bytes(thing: Any) -> int:
    """Of the arrays in an item."""
    if isinstance(thing, torch.Tensor):
        return thing.numel() * thing.element_size()
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    entries = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, (list, tuple)) else ()
    return sum(map(_bytes, entries))


def _folder_name(data: Sequence[Any], compose: Compose, end: int | None) -> str:
    steps = compose.transforms[:end]
    files = [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in _files(list(data))]
    return PREFIX + object_digest([steps, bool(compose.lazy), list(data), files, package_versions(VERSIONS)])[:24]


def _files(thing: Any) -> Iterator[tuple[Path, Any]]:
    """Files that items name, those of a folder one by one."""
    if isinstance(thing, (str, Path)):
        path = Path(thing)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                yield file, file.stat()
    elif isinstance(thing, (SeriesFiles, SegmentFiles)):
        yield from _files(thing.files)
    elif isinstance(thing, (Mapping, list, tuple)):
        for entry in thing.values() if isinstance(thing, Mapping) else thing:
            yield from _files(entry)
