"""Text that goes into files: tables and pages are written in one way, whatever names they hold."""

from __future__ import annotations

import os
import re
from typing import Any, TextIO

__all__ = ["markdown_text", "name_cell", "open_text", "printable", "write_text"]

MARKS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{mark: f"\\{mark}" for mark in "\\`*|~$@"}})
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
