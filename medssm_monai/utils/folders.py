"""Output folders: checked before the work starts, kept safe from a later run."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

__all__ = ["keep_previous", "require_file", "writable_folder"]

logger = logging.getLogger(__name__)


def writable_folder(*folders: str | os.PathLike) -> None:
    """Create the folders and make sure that files can be written into them.

    Raises:
        PermissionError: naming the folder and the options that choose another one.
    """
    for folder in folders:
        try:
            os.makedirs(folder, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
                continue
        except OSError as error:
            raise PermissionError(
                f"cannot write into the output folder {os.fspath(folder)!r} ({error.strerror or error}). "
                "Make it writable or choose another one with --output_dir (and --ckpt_dir for checkpoints)."
            ) from None


def keep_previous(path: str | os.PathLike) -> Path | None:
    """Rename an existing file to ``<stem>_<time of its last change><suffix>`` so that a new run cannot overwrite it.

    Returns:
        The new name, or ``None`` when there was no such file.
    """
    path = Path(path)
    if not path.is_file():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(path.stat().st_mtime))
    kept = path.with_name(f"{path.stem}_{stamp}{path.suffix}")
    count = 1
    while kept.exists():
        count += 1
        kept = path.with_name(f"{path.stem}_{stamp}_{count}{path.suffix}")
    path.rename(kept)
    logger.info("kept the earlier %s as %s", path.name, kept)
    return kept


def require_file(path: str | os.PathLike | None, what: str, mend: str) -> str:
    """The path when it is a file.

    Raises:
        FileNotFoundError: saying what was missing and how to mend it.
    """
    if path is None or not Path(path).is_file():
        raise FileNotFoundError(f"{what} not found: {path}. {mend}")
    return os.fspath(path)
