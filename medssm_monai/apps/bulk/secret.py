"""The secret of a folder of results. What studies are called there follows from it, so that without it nobody can try
out which names of files, or patient numbers, have led to the results."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...utils import shown_path
from ...utils.files import replace_file
from .sources import Source
from .study import DIGITS, Study
from .work import SHARED

__all__ = ["KeyedSource", "keyed", "secret_of"]

LONG = 32  # digits of the secret


def secret_of(out: Path, made: bool = True) -> str:
    """The secret of a folder of results, from its file :data:`~.work.SHARED`, which its owner alone can read.

    Args:
        out: the folder.
        made: whether it may be made where it is not there: no result has been called by it yet.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: the file holds something else.
    """
    file = out / SHARED
    if not file.exists():
        if not made:
            raise FileNotFoundError(
                f"{shown_path(file)} is gone, without which the results of this folder cannot be told; put it back, "
                "or name another folder."
            )
        with replace_file(file) as part, open(part, "x", encoding="ascii", opener=_private) as stream:
            stream.write(secrets.token_hex(LONG // 2) + "\n")
    secret = file.read_bytes().strip().decode("ascii", "replace")
    if not re.fullmatch(f"[0-9a-f]{{{LONG}}}", secret):
        raise ValueError(f"{shown_path(file)} is damaged; put it back as it was, or name another folder.")
    return secret


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def keyed(secret: str, text: str) -> str:
    """Hexadecimal digest that nobody can compute without the secret (HMAC-SHA-256)."""
    data = text.encode("utf-8", "surrogateescape")
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()[:DIGITS]


class KeyedSource:
    """A source whose keys and stamps follow from a secret too.

    Args:
        source: of the studies.
        secret: of the folder of the results.
    """

    def __init__(self, source: Source, secret: str) -> None:
        self.kind, self.source, self.secret = source.kind, source, secret

    def __iter__(self) -> Iterator[Study]:
        for study in self.source:
            stamp = keyed(self.secret, study.stamp) if study.stamp else ""
            yield replace(study, key=keyed(self.secret, study.key), stamp=stamp)

    def count(self) -> int:
        """See :class:`~.sources.Source`."""
        return self.source.count()
