"""What is predicted as a whole: an image, a pair, the files of some channels, or a DICOM study."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Study", "digest", "stamp_of", "study_of_files"]

DIGITS = 20
NOT_THERE = "a file that is listed is not there; correct the list, or put the file back"


@dataclass(frozen=True)
class Study:
    """One entry of the manifest, as a worker gets it.

    Attributes:
        key: hexadecimal; follows from where the files lie below the input, or from the identifier of a DICOM study, and
            from the secret of the folder of results (:mod:`.secret`); names the result.
        stamp: hexadecimal; follows from sizes and times of the files: another one, and the study is predicted anew.
        files: absolute; one, one for each channel, two of a pair, or all files of a DICOM study.
        name: what the files are called from the input on; shown only where the user asks for names.
        uid: Study Instance UID of a DICOM study, else empty.
        wrong: why it cannot be predicted, where its source knows already.
    """

    key: str
    stamp: str
    files: tuple[str, ...]
    name: str = ""
    uid: str = ""
    wrong: str = ""


def digest(*parts: str) -> str:
    """Hexadecimal digest of texts."""
    joined = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(joined).hexdigest()[:DIGITS]


def stamp_of(files: Sequence[str]) -> str:
    """What changes when a file does; nothing is read.

    Raises:
        FileNotFoundError: a file is not there.
    """
    states = [os.stat(file) for file in files]
    return digest(*(f"{state.st_size}:{state.st_mtime_ns}" for state in states))


def study_of_files(files: Sequence[str | os.PathLike[str]], root: Path) -> Study:
    """The study of one image, one pair, or one file for each channel.

    Args:
        files: in the network's order.
        root: folder from which they are named.
    """
    paths = tuple(os.path.abspath(file) for file in files)
    names = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
    key, name = digest(*names), ", ".join(names)
    try:
        return Study(key, stamp_of(paths), paths, name)
    except OSError as error:
        reason = NOT_THERE if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        return Study(key, "", paths, name, wrong=reason)
