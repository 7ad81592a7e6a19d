"""Folders of DICOM files, sorted into studies and series, and series into volumes and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..readers.files import natural_key
from .headers import HeaderError, instance_uid, read_header, require_pydicom
from .series import Found, Instance, Series, SetAside
from .sort import as_instance, series_key, sort_series

__all__ = ["Found", "Instance", "Series", "SetAside", "find_series"]


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        yield from (Path(place) / name for name in sorted(names, key=natural_key) if not name.startswith("."))


def find_series(folder: Path) -> Found:
    """Sort all DICOM files below a folder by their headers; no pixels are read.

    Files need no suffix; an index (DICOMDIR) is passed over. CT, MR and PET slices of one orientation, size and spacing
    with even gaps become one volume, along their normal (:mod:`medssm_monai.data.readers.stacks` holds the tolerances).
    A series of several stacks becomes several, told apart by echo, acquisition, temporal position and the like. Frames
    of an enhanced object become a volume by their functional groups. All other images are pictures. What is no image,
    or makes no right volume (a missing slice, uneven gaps, a tilted gantry, two slices at one place), is set aside.

    Args:
        folder: whose files, and those of all folders below, are read; or one file.

    Raises:
        FileNotFoundError: no such folder.
        ImportError: pydicom is not installed.
    """
    folder = Path(folder)
    require_pydicom()
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder; check the path.")
    instances: dict[tuple[str, ...], list[Instance]] = {}
    set_aside: list[SetAside] = []
    known: set[str] = set()
    for path in [folder] if folder.is_file() else _files_below(folder):
        if path.name.upper() == "DICOMDIR":
            continue
        try:
            instance = as_instance(path, read_header(path))
        except HeaderError as error:
            set_aside.append(SetAside(path, str(error), error.lost, instance_uid(path)))
            continue
        except OSError as error:
            set_aside.append(SetAside(path, f"cannot be read ({error.strerror or type(error).__name__})", lost=True))
            continue
        uid = str(instance.header.get("SOPInstanceUID", ""))
        if uid and uid in known:
            set_aside.append(SetAside(path, "the same instance (SOP Instance UID) as another file", uid=uid))
            continue
        known.add(uid)
        instances.setdefault(series_key(instance), []).append(instance)
    series: list[Series] = []
    for members in instances.values():
        found, left = sort_series(members)
        series += found
        set_aside += left
    return Found(tuple(series), tuple(set_aside))
