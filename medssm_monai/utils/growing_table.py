"""A table that grows row by row and is readable at any moment, also after a kill."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .folders import keep_previous
from .text_files import open_text

__all__ = ["GrowingTable"]


class GrowingTable:
    """CSV table to which each row is written when it is known.

    A table of an earlier run is kept under a dated name (:func:`~medssm_monai.utils.keep_previous`) as soon as there
    is something new to write, not before: a run that fails at its start leaves it where it was.

    Args:
        path: the table; its folder must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.restart()

    def restart(self) -> None:
        """The next row belongs to a new run."""
        self.rows = 0
        self._kept = False

    def put_aside(self) -> None:
        """Keep the table of an earlier run under its dated name, once."""
        if not self._kept:
            keep_previous(self.path)
            self._kept = True

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row, with the keys as header before the first; it is in the file when this returns."""
        self.put_aside()
        with open_text(self.path, "a" if self.rows else "w") as stream:
            writer = csv.writer(stream)
            if not self.rows:
                writer.writerow(row)
            writer.writerow(row.values())
        self.rows += 1
