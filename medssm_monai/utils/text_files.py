"""Text that goes into files: tables and pages are written in one way, whatever names they hold."""

from __future__ import annotations

import os
from typing import Any, TextIO

__all__ = ["name_cell", "open_text", "printable", "write_text"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def open_text(path: str | os.PathLike[str], mode: str = "w") -> TextIO:
    """Open a UTF-8 file for a table or a page; lines end as they are written.

    A file name that is not UTF-8 (Latin-1 bytes of an old zip file, which Python holds as lone surrogates) is written
    with backslashes, ``gr\\udcfcn.png``, instead of ending the run.
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
