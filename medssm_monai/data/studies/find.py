"""Folders of DICOM files, sorted into studies and series, and series into volumes and pictures."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..readers.files import natural_key
from .headers import HeaderError, instance_uid, quiet_pydicom, read_header, require_pydicom
from .series import Found, Instance, Series, SetAside
from .sort import as_instance, is_copy, series_key, sort_series

__all__ = ["Found", "Instance", "Series", "SetAside", "files_below", "find_series"]

INDEX = "DICOMDIR"


def files_below(folder: Path, closed: list[SetAside], without: Path | None = None) -> Iterator[Path]:
    """Files of a folder and of those below, hidden ones left out; links to folders are followed, once. Folders that
    cannot be listed are added to ``closed``; the folder ``without`` is passed over."""

    def tell(error: OSError) -> None:
        reason = f"a folder that cannot be listed ({error.strerror or type(error).__name__}); make it readable"
        closed.append(SetAside(Path(os.fsdecode(error.filename)), reason, lost=True))

    seen: set[tuple[int, int]] = set()
    if without is not None and without.exists():  # by what it is: the way to it may lead over a link
        facts = os.stat(without)
        seen.add((facts.st_dev, facts.st_ino))
    for place, folders, names in os.walk(folder, onerror=tell, followlinks=True):
        facts = os.stat(place)
        if (facts.st_dev, facts.st_ino) in seen:  # a link to a folder above, a second one to the same, or ``without``
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        yield from (Path(place) / name for name in sorted(names, key=natural_key) if not name.startswith("."))


def find_series(folder: Path) -> Found:
    """Sort all DICOM files below a folder by their headers; no pixels are read.

    Files need no suffix; an index (DICOMDIR) is passed over, links are followed. CT, MR and PET slices of one
    orientation, size and spacing with even gaps become one volume, along their normal
    (:mod:`medssm_monai.data.readers.stacks` holds the tolerances). A series of several stacks becomes several, told
    apart by echo, acquisition, temporal position and the like. Frames of an enhanced object become a volume by their
    functional groups. All other images are pictures. What is no image, or makes no right volume (a missing slice,
    uneven gaps, a tilted gantry, two slices at one place), is set aside.

    Args:
        folder: whose files, and those of all folders below, are read; or one file.

    Raises:
        FileNotFoundError: no such folder.
        ImportError: pydicom is not installed.
        ValueError: an index (DICOMDIR), a pipe or a device instead of a folder.
    """
    folder = Path(folder)
    require_pydicom()
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder; check the path.")
    if not folder.is_dir() and (not folder.is_file() or folder.name.upper() == INDEX):
        what = (
            f"the index of a medium; give its folder, {folder.parent}" if folder.is_file() else "no folder and no file"
        )
        raise ValueError(f"{folder} is {what}.")
    instances: dict[tuple[str, ...], list[Instance]] = {}
    set_aside: list[SetAside] = []
    known: dict[str, Instance] = {}
    for path in [folder] if folder.is_file() else files_below(folder, set_aside):
        if path.name.upper() == INDEX:
            continue
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opened, a pipe would wait for somebody to write
                set_aside.append(SetAside(path, "a pipe, a socket or a device, no file"))
                continue
            instance = as_instance(path, read_header(path))
        except HeaderError as error:
            set_aside.append(SetAside(path, str(error), error.lost, instance_uid(path)))
            continue
        except OSError as error:
            set_aside.append(SetAside(path, f"cannot be read ({error.strerror or type(error).__name__})", lost=True))
            continue
        uid = str(instance.header.get("SOPInstanceUID", ""))
        if uid and uid in known:
            copy = is_copy(instance, known[uid])
            reason = "the same instance (SOP Instance UID) as another file"
            reason += "" if copy else ", with other content; give it an identifier of its own, or leave one out"
            set_aside.append(SetAside(path, reason, lost=not copy, uid=uid))
            continue
        known[uid] = instance
        instances.setdefault(series_key(instance), []).append(instance)
    series: list[Series] = []
    for members in instances.values():
        with quiet_pydicom():  # items of sequences are looked at only now
            found, left = sort_series(members)
        series += found
        set_aside += left
    return Found(tuple(series), tuple(set_aside))
