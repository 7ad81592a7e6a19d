"""SHA-256 of a file, computed once for each state of the file."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

__all__ = ["file_sha256"]

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
