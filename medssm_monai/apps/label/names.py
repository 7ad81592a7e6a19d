"""Names that come with a request: of images, labels, tags, models. They become file names, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["base_name", "destination", "plain_name"]

LONGEST = 255  # bytes of a file name


def plain_name(value: Any, what: str) -> str:
    """The value, if it can be the name of a file in a folder, and of none elsewhere.

    Raises:
        ValueError: no text, empty, ``.`` or ``..``, hidden (a leading dot), with a slash, backslash or control
            character, not encodable, or longer than file names may be.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a name, got {type(value).__name__}.")
    wrong = not value or value.startswith(".") or any(sign in "/\\" or not sign.isprintable() for sign in value)
    if wrong:
        raise ValueError(f"{what} must be a name without slashes that starts with no dot, got {value[:80]!r}.")
    if len(value.encode("utf-8", "surrogatepass")) > LONGEST:
        raise ValueError(f"{what} must be no longer than {LONGEST} bytes.")
    return value


def base_name(value: str | None, what: str) -> str:
    """Last part of the file name of an upload (clients send whole paths, of Windows too).

    Raises:
        ValueError: that part is no plain name.
    """
    return plain_name((value or "").replace("\\", "/").rsplit("/", 1)[-1], what)


def destination(root: Path, *parts: str, link: bool = False) -> Path:
    """The file ``root/parts[0]/…``, whose folder lies in ``root`` in truth and which is no link itself.

    Args:
        root: the folder; may be, or lie behind, a link.
        parts: folders and file name.
        link: take a file that is a link, to remove it.

    Raises:
        ValueError: a part that is no plain name, a folder of the way or the file itself that is a link.
    """
    for part in parts:
        plain_name(part, "file name")
    path = root.joinpath(*parts)
    inside = Path(os.path.realpath(root)).joinpath(*parts[:-1])
    if Path(os.path.realpath(path.parent)) != inside:
        raise ValueError(f"{path.parent} leads out of {root} by a link; nothing is changed there.")
    if path.is_symlink() and not link:
        raise ValueError(f"{path.name} is a link; nothing is written through it.")
    if path.is_dir() and not path.is_symlink():
        raise ValueError(f"{path.name} is a folder, expected a file.")
    return path
