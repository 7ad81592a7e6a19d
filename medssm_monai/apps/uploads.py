"""Where files that clients send lie while they are looked at: images of patients, which must not stay behind."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["forget_upload", "private_uploads"]

PREFIX = "medssm_label_uploads_"
ALIVE = ".alive"  # locked while the server of a folder runs


@contextmanager
def private_uploads(prefix: str = PREFIX) -> Iterator[Path]:
    """While this lasts, files that the server receives go to a folder of its own, and with it they go at its end.

    MONAI Label writes them to the computer's folder for temporary files, where every user can list them, and leaves
    them there when a request fails. The folder here is its owner's alone. A server that is ended by the signal
    ``SIGTERM`` removes it too; of one that was killed the next server of the same user removes it.

    Args:
        prefix: of the folder's name, for servers of another kind.
    """
    _sweep(prefix)
    before = tempfile.tempdir
    try:
        with (
            tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder,
            FileLock(Path(folder) / ALIVE),
        ):
            handler = signal.signal(signal.SIGTERM, _leave)  # the default one ends the program where it stands
            try:
                tempfile.tempdir = folder
                yield Path(folder)
            finally:
                signal.signal(signal.SIGTERM, handler)
    finally:
        tempfile.tempdir = before


def forget_upload(path: str) -> bool:
    """Remove a file if it lies in the folder of :func:`private_uploads`; returns whether it did."""
    file = Path(path)
    folder = Path(tempfile.gettempdir())
    if file.parent != folder or not folder.name.startswith(PREFIX) or not file.is_file():
        return False
    file.unlink()
    return True


def _sweep(prefix: str) -> None:
    """Remove the folders of servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError, Timeout):  # of another user, or of a server that runs
            if not folder.is_symlink() and (folder / ALIVE).is_file():
                with FileLock(folder / ALIVE, timeout=0):
                    shutil.rmtree(folder)


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)
