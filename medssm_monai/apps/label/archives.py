"""Unpacking of archives that a client sent: plain files in plain folders, no more of them than agreed."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["MAX_FILES", "unpack"]

MAX_FILES = 10_000
CHUNK = 1 << 20
ERRORS = (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError)


def unpack(archive: Path, folder: Path, max_bytes: int, max_files: int = MAX_FILES) -> None:
    """Unpack a tar (plain or compressed) or zip file into an empty folder.

    Sizes are counted while they are written, whatever the archive's own table says.

    Args:
        archive: by content; its name does not matter.
        folder: must be there.
        max_bytes: of all members together, unpacked.
        max_files: members.

    Raises:
        ValueError: no such archive, a damaged or encrypted one, a member that is no file or folder, lies outside the
            folder, or too much. The folder may hold members then.
    """
    left, count = max_bytes, 0
    try:
        with _members(archive) as members:
            for name, content in members:
                count += 1
                if count > max_files:
                    raise ValueError(f"{archive.name}: more than {max_files} members.")
                target = _inside(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                if content is not None:
                    left = _copy(content, target, left, f"{archive.name}: more than {max_bytes} bytes unpacked.")
                else:
                    target.mkdir(exist_ok=True)
    except ERRORS as error:
        raise ValueError(f"{archive.name}: no archive that can be unpacked ({error}).") from error
    if not count:
        raise ValueError(f"{archive.name}: an empty archive.")


def _inside(folder: Path, name: str) -> Path:
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or set(parts) & {".."} or set(name) & {"\\", "\0", ":"}:
        raise ValueError(f"{name[:80]!r}: not a member of this archive alone.")
    return folder.joinpath(*parts)


def _copy(content: IO[bytes], target: Path, left: int, message: str) -> int:
    with target.open("xb") as file:  # never over another member, nor through a link
        while chunk := content.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ValueError(message)
            file.write(chunk)
    return left


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes] | None]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _of_zip(opened)
    else:
        with tarfile.open(archive) as opened:
            yield _of_tar(opened)


def _of_zip(opened: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes] | None]]:
    for member in opened.infolist():
        kind = member.external_attr >> 28  # of Unix: 8 a file, 4 a folder, 0 not said
        if kind not in (0, 4, 8):
            raise ValueError(f"{member.filename[:80]!r}: neither file nor folder.")
        if member.is_dir():
            yield member.filename, None
        else:
            with opened.open(member) as content:
                yield member.filename, content


def _of_tar(opened: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes] | None]]:
    for member in opened:
        if not member.isfile() and not member.isdir():
            raise ValueError(f"{member.name[:80]!r}: neither file nor folder.")
        yield member.name, opened.extractfile(member)  # None for a folder
