"""The folder in which this package keeps what it computed once for a user; nobody else can write into it."""

from __future__ import annotations

import getpass
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_private", "is_writable", "user_cache"]

NAME = "medssm_monai"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH


def user_cache() -> Path | None:
    """Folder ``medssm_monai`` in the user's cache, made on first use; None when there is no safe place at all.

    Looked at, in this order: ``XDG_CACHE_HOME`` or ``~/.cache`` (Linux), ``~/Library/Caches`` (macOS),
    ``LOCALAPPDATA`` (Windows); then, for services and containers without a home folder of their own (no ``HOME``,
    ``HOME=/``, read-only), the folder ``medssm_monai-<user>`` among the temporary files. A folder that belongs to
    somebody else, or that others can write into, is passed over: what lies there is loaded as code.
    """
    for folder in _candidates():
        if is_writable(folder) and is_private(folder):
            return folder
    return None


def _candidates() -> Iterator[Path]:
    base = _platform_cache()
    if base is not None:
        yield base / NAME
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:  # no writable temporary folder either
        return
    yield temporary / f"{NAME}-{_user()}"


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else getpass.getuser()


def _platform_cache() -> Path | None:
    """The user's own cache folder of this platform, which need not exist yet; None without a home folder."""
    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    named = Path(os.environ.get(variable, "") if variable else "")
    if named.is_absolute():  # as the XDG specification has it, others are ignored
        return named
    home = _home()
    if home is None:
        return None
    return home / {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")


def _home() -> Path | None:
    """The user's home folder: there, his own, and not the root of the file system."""
    try:
        home = Path.home()
        own = not hasattr(os, "geteuid") or home.stat().st_uid == os.geteuid()
    except (RuntimeError, OSError):  # no HOME and no entry in the user database; or no such folder
        return None
    return home if own and home.is_absolute() and home != Path(home.anchor) else None


def is_writable(folder: Path) -> bool:
    """Make the folder, for its user alone, when it is missing; whether a file can be written there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # without a name: a kill leaves nothing
            return True
    except OSError:
        return False


def is_private(folder: Path) -> bool:
    """Whether a folder is this user's own and nobody else can write into it, or put another one in its place.

    On Windows, whose access lists Python does not read, always True.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        whole = folder.resolve(strict=True)
        if folder.is_symlink() or whole.stat().st_uid != os.geteuid():
            return False
        for place in [*reversed(whole.parents), whole]:
            mode = place.stat().st_mode
            shared = place != whole and mode & stat.S_ISVTX  # like /tmp: only the owner of a folder renames it there
            if mode & OTHERS_WRITE and not shared:
                return False
            if not mode & OTHERS_ENTER:  # below it nobody else gets
                return True
    except OSError:
        return False
    return True
