"""Tables and pages: written in one way, whatever names they hold, and tables that grow row by row."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

from .files import keep_previous

__all__ = ["GrowingTable", "markdown_text", "name_cell", "open_text", "printable", "write_text"]

MARKS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{mark: f"\\{mark}" for mark in "\\`*|~$@"}})
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def open_text(path: str | os.PathLike[str], mode: Literal["w", "a"] = "w") -> TextIO:
    r"""Open a UTF-8 file for a table or a page; lines end as they are written.

    A file name that is not UTF-8 (Latin-1 bytes of an old zip file, which Python holds as lone surrogates) is written
    with backslashes, ``gr\udcfcn.png``, instead of ending the run.
    """
    return open(path, mode, newline="", encoding="utf-8", errors="backslashreplace")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole page as :func:`open_text` does."""
    with open_text(path) as stream:
        stream.write(text)


def printable(text: str) -> str:
    """The text as UTF-8 can hold it, for consoles and pictures; what it cannot hold as :func:`open_text` writes it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def name_cell(value: Any) -> str:
    """A name as a cell of a table that spreadsheets open: one that they would run as a formula gets an apostrophe.

    For names of files, classes and groups; numbers are written as they are. Lone surrogates stay for
    :func:`open_text`.
    """
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def markdown_text(value: Any) -> str:
    """A value as a page in Markdown shows it: names of classes, files and weights stay texts, whatever marks they hold.

    HTML, links, pictures, code, tables and emphasis are written so that they come out as their letters, on one line.
    Numbers, and lists of numbers, are written as they are.
    """
    if isinstance(value, (list, tuple)):
        inner = ", ".join(markdown_text(entry) for entry in value)
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if not isinstance(value, str):
        return str(value).translate(MARKS)
    text = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", value).translate(MARKS)
    text = re.sub(r"^\s*\[|\](?=[\[(:]|\s*$)", lambda found: found[0].replace("[", r"\[").replace("]", r"\]"), text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # within a word it is no emphasis
    return text.replace("://", ":\\//").replace("www.", "www\\.")  # no links of their own


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
