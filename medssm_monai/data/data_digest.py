"""One number for all files of a data set: another one as soon as a file is changed, added, removed or renamed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.files import file_sha256, replace_file
from ..utils.text_files import write_text
from ..utils.user_cache import user_cache
from .readers.segment_labels import SegmentFiles
from .readers.series_files import SeriesFiles

__all__ = ["LARGEST", "data_digest", "file_behind", "files_of"]

logger = logging.getLogger(__name__)
LARGEST = 20 * 10**9
"""Bytes above which names and sizes are digested alone."""
KEPT = 256  # digests in the cache
_NO_FILES = ("name", "group", "dataset", "subset")  # entries of an item that are texts


def files_of(lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Path]:
    """The files behind the items of all parts, each once: images, masks, series with all their files, segmentations,
    ``.npz`` files.

    Args:
        lists: part -> items, as the functions of :mod:`medssm_monai.data.datalists` give them.
    """
    items = (item for part in lists.values() for item in part)
    values = (value for item in items for key, value in item.items() if key not in _NO_FILES)
    return sorted({file for value in values for file in _files(value)})


def file_behind(address: str | os.PathLike[str]) -> Path | None:
    """The file of a name, or of an address within one (an entry of an ``.npz`` file, a frame); None where there is no
    such file."""
    path = Path(address)
    return next((one for one in (path, *path.parents) if one.is_file()), None)


def _files(value: Any) -> Iterator[Path]:
    if isinstance(value, (SeriesFiles, SegmentFiles)):
        value = value.files
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _files(entry)
    elif isinstance(value, (str, os.PathLike)):
        path = Path(os.path.abspath(value))
        file = file_behind(path)
        if file is not None:
            yield file
        elif path.is_dir():
            yield from (inside for inside in path.rglob("*") if inside.is_file())


def data_digest(files: Iterable[Path], largest: int = LARGEST) -> dict[str, Any]:
    """SHA-256 over the names of files, from their common folder on, and their contents, in the order of the names.

    A set that has not changed since (names, sizes, times of change) is not read again: the result is kept in the user's
    cache. Where the order of ``files`` differs, or the set lies in another folder, the digest is the same.

    Args:
        files: absolute paths.
        largest: bytes; of more, names and sizes are digested alone.

    Returns:
        ``files``, ``bytes``, ``sha256`` and ``of``: what was digested, in words.
    """
    paths = sorted(set(files))
    if not paths:
        return {"files": 0, "bytes": 0, "sha256": None, "of": "no files"}
    root = Path(os.path.commonpath([path.parent for path in paths]))
    states = {path.relative_to(root).as_posix(): path.stat() for path in paths}
    size = sum(state.st_size for state in states.values())
    facts: dict[str, Any] = {"files": len(paths), "bytes": size}
    if size > largest:
        sizes = {name: str(state.st_size) for name, state in states.items()}
        of = f"names and sizes alone, of more than {largest / 1e9:g} GB"
        return facts | {"sha256": _digest(sizes), "of": of}
    times = {name: f"{state.st_size} {state.st_mtime_ns} {state.st_ino}" for name, state in states.items()}
    kept = _kept(_digest({**times, "": os.fspath(root)}))
    digest = _read(kept)
    if digest is None:
        logger.info("digesting %d files, %.1f MB", len(paths), size / 1e6)
        digest = _digest({name: file_sha256(root / name) for name in states})
        if kept is not None:
            with replace_file(kept) as temporary:
                write_text(temporary, json.dumps({"sha256": digest}))
            _drop_old(kept.parent)
    return facts | {"sha256": digest, "of": "names and contents"}


def _digest(parts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(os.fsencode(name) + b"\0" + os.fsencode(parts[name]) + b"\0")
    return digest.hexdigest()


def _kept(state: str) -> Path | None:
    """Where the digest of files in this state is kept; None without a cache."""
    cache = user_cache()
    if cache is None:
        return None
    folder = cache / "data_digests"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{state}.json"


def _drop_old(folder: Path) -> None:
    """Keep the last digests only."""
    kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for old in kept[:-KEPT]:
        old.unlink(missing_ok=True)


def _read(kept: Path | None) -> str | None:
    if kept is None or not kept.is_file():
        return None
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError, OSError):  # half a file of a full disk, or somebody's own
        return None
    return found if isinstance(found, str) and len(found) == 2 * hashlib.sha256().digest_size else None
