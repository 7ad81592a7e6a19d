"""Files that are either whole or not there, and folders that are checked before the work starts."""

from __future__ import annotations

import errno
import hashlib
import itertools
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from .command_line import unchanged_path

__all__ = [
    "DiskFullError",
    "file_sha256",
    "keep_previous",
    "remove_parts",
    "replace_file",
    "require_file",
    "shown_path",
    "writable_folder",
]

logger = logging.getLogger(__name__)
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
LONGEST_NAME = 255  # bytes, of most file systems
_PART = re.compile(r"\.(?P<stem>.+)\.\d+(?:-\d+)?\.part(?P<ending>\..+)?")
_TOO_LARGE = "the file is larger than this process may write (ulimit -f)"


class DiskFullError(OSError):
    """A file did not fit on the disk; what was there before is unchanged. ``errno`` is that of the first error."""


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; after the block its file takes the place of ``path`` in one step.

    What was written is on the disk (``fsync``) before it takes the place, so that neither a kill nor a power cut leaves
    half a file. When the block fails, the temporary file is removed and what was at ``path`` stays. A symbolic link at
    ``path`` is replaced, not written through. Suffixes are kept (``.nii.gz`` whole), because image writers choose the
    format by them.

    Raises:
        DiskFullError: the file did not fit; the message says how much is free.
    """
    target = Path(path)
    ending = "".join(target.suffixes[-2:]) if target.suffix == ".gz" else target.suffix
    main = threading.current_thread() is threading.main_thread()
    writer = str(os.getpid()) if main else f"{os.getpid()}-{threading.get_ident()}"
    stem, rest = target.name.removesuffix(ending), f".{writer}.part{ending}"
    while len(os.fsencode(f".{stem}{rest}")) > LONGEST_NAME:
        stem = stem[:-1]
    temporary = target.with_name(f".{stem}{rest}")
    temporary.unlink(missing_ok=True)  # what an earlier process of this number left, or a link to somewhere else
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        reason = _TOO_LARGE if error.errno == errno.EFBIG else _FULL.get(error.errno or 0)
        if reason is None:
            raise
        free = shutil.disk_usage(target.parent).free / 1e6
        full = DiskFullError(
            f"{target} was not written: {reason} ({free:.1f} MB are free). What was there before is unchanged."
        )
        full.errno = error.errno
        raise full from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_parts(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Remove what :func:`replace_file` leaves beside a file when its process is killed.

    Nobody else may be writing there: the caller holds the lock of the folder, or of the file.

    Args:
        folder: where they lie; folders in it are gone through too, unless ``name`` is given.
        name: of the only file whose parts, and journals of them, are removed; None for all.
    """
    for path in Path(folder).glob(".*" if name else "**/.*"):
        match = _PART.fullmatch(path.name)
        if match and (name is None or f"{match['stem']}{match['ending'] or ''}".startswith(name)):
            path.unlink(missing_ok=True)
            logger.info("removed %s, which an interruption left half written", path)


OTHER_FOLDER = "Make it writable or choose another one with --output_dir (and --ckpt_dir for checkpoints)."


def writable_folder(*folders: str | os.PathLike, remedy: str = OTHER_FOLDER) -> None:
    """Create the folders and make sure that files can be written into them.

    What is created, parents included, only its owner can read or list: results are as private as the images are. Who
    wants to share them creates the folder first.

    Raises:
        ValueError: a folder of the command line whose ``#`` MONAI has replaced (:func:`~.command_line.unchanged_path`).
        PermissionError: naming the folder and, with ``remedy``, how to choose another one.
    """
    for folder in folders:
        unchanged_path(folder)
        try:
            for missing in reversed([path for path in (Path(folder), *Path(folder).parents) if not path.exists()]):
                missing.mkdir(mode=0o700, exist_ok=True)
            os.makedirs(folder, exist_ok=True)  # says what is wrong where a file has the name
            with tempfile.TemporaryFile(dir=os.fspath(folder)):  # without a name: a kill leaves nothing
                continue
        except OSError as error:
            raise PermissionError(
                f"cannot write into the output folder {os.fspath(folder)!r} ({error.strerror or error}). {remedy}"
            ) from None


def keep_previous(*paths: str | os.PathLike, move: bool = True) -> list[Path]:
    """Keep existing files as ``<stem>_<time of the last change><suffix>`` so that a new run cannot overwrite them.

    Args:
        move: rename them. False lets them stay where they are as well, for a successor that is about to take their
            places in one step: a hard link, or a copy where the file system has none. Links are kept as links.
        paths: files that belong together, such as weights and their settings: all get the time of the first one there
            is, and a number where one of the new names is taken, so that they still belong together by name.

    Returns:
        The new names of those that existed.
    """
    files = [Path(path) for path in paths]
    there = [path for path in files if path.is_file()]
    if not there:
        return []
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(there[0].stat().st_mtime))
    for count in itertools.count(1):
        ending = stamp if count == 1 else f"{stamp}_{count}"
        kept = [path.with_name(f"{path.stem}_{ending}{path.suffix}") for path in files]
        if not any(path.exists() for path in kept):
            break
    named = [(path, new) for path, new in zip(files, kept, strict=True) if path in there]
    for path, new in named:
        if move:
            path.rename(new)
        else:
            _second_name(path, new)
    if move:
        logger.info("kept the earlier %s as %s", ", ".join(p.name for p in there), ", ".join(str(n) for _, n in named))
    return [new for _, new in named]


def _second_name(path: Path, new: Path) -> None:
    try:
        os.link(path, new, follow_symlinks=False)
    except (OSError, NotImplementedError):  # file systems without hard links, some network folders among them
        if path.is_symlink():
            new.symlink_to(os.readlink(path))
            return
        with replace_file(new) as temporary:
            shutil.copy2(path, temporary)


def require_file(path: str | os.PathLike | None, what: str, remedy: str) -> str:
    """The path when it is a file.

    Raises:
        FileNotFoundError: saying what was missing and how to fix it.
        ValueError: an option of the command line whose ``#`` MONAI has replaced.
    """
    if path is None or not Path(path).is_file():
        unchanged_path(path or "")
        raise FileNotFoundError(f"{what} not found: {path}. {remedy}")
    return os.fspath(path)


def shown_path(path: str | os.PathLike) -> str:
    """A path as one would type it: relative to the current folder when it lies in there, else absolute."""
    whole = Path(os.path.abspath(path))
    return os.fspath(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else os.fspath(whole)


CHUNK = 2**20


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; a file that has not changed since the last call is not read again.

    Raises:
        FileNotFoundError: no such file.
    """
    status = os.stat(path)
    return _digest(os.path.abspath(path), (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=64)
def _digest(path: str, state: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
