"""Tables that users save, read in one way: lists of images and of pairs, class tables, group tables, lists of files to
leave out."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from monai.config import PathLike

from ...utils.shown_names import remember_data, shown_name
from ...utils.text_files import printable
from ..errors import DatalistError
from ..readers.files import file_kind_by_suffix
from ..readers.limits import check_text

__all__ = ["IMAGE_COLUMNS", "TABLE_SUFFIXES", "Table", "is_table", "listed_file", "listed_images", "read_table"]

logger = logging.getLogger(__name__)
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
WORKBOOKS = (".xlsx", ".xls", ".ods", ".numbers")
IMAGE_COLUMNS = (
    "image",
    "path",
    "file",
    "filename",
    "file name",
    "image path",
    "file path",
    "filepath",
    "image index",
    "image id",
    "image name",
    "image file",
    "img",
)
SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma"}
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def is_table(path: Path) -> bool:
    """Whether a path is named like a table (or like a workbook, which :func:`read_table` refuses with the remedy)."""
    return path.suffix.lower() in (*TABLE_SUFFIXES, *WORKBOOKS)


@dataclass(frozen=True)
class Table:
    """Cells of a table as text, without the blanks around them and without empty rows.

    Attributes:
        path: the file.
        encoding: ``"utf-8"``, ``"utf-8-sig"`` (with a byte order mark), ``"utf-16"``, ``"utf-16-le"`` or ``"cp1252"``.
        separator: ``","``, ``";"``, a tab, or None where every row has one cell.
        rows: cells, the header included.
    """

    path: Path
    encoding: str
    separator: str | None
    rows: list[list[str]]

    def __str__(self) -> str:
        """The file and how it was read, for messages."""
        separator = SEPARATORS.get(self.separator or "", "none found")
        return f"{self.path} (read as {self.encoding}, separator: {separator})"

    def column(self, names: Sequence[str]) -> int | None:
        """Number of the column whose header is the first of ``names`` that is there; case, ``_`` and ``-`` do not
        matter."""
        header = [_plain(cell) for cell in self.rows[0]]
        return next((header.index(_plain(name)) for name in names if _plain(name) in header), None)

    def frame(self) -> pd.DataFrame:
        """The rows below the header, all cells text; short rows are filled up.

        Raises:
            DatalistError: rows with more cells than the header, or two columns of one name.
        """
        header = self.rows[0]
        long = [number for number, row in enumerate(self.rows, start=1) if len(row) > len(header)]
        if long:
            raise DatalistError(
                f"{self}: row {long[0]} has {len(self.rows[long[0] - 1])} cells, the header {len(header)}; quote cells "
                "that hold the separator."
            )
        if len(set(header)) < len(header):
            raise DatalistError(f"{self}: two columns of one name in the header {header}; rename one.")
        return pd.DataFrame([row + [""] * (len(header) - len(row)) for row in self.rows[1:]], columns=header, dtype=str)


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _decode(content: bytes, path: Path) -> tuple[str, str]:
    encoding = next((name for mark, name in BOMS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:200]:
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    for name in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            return content.decode(name), name
        except UnicodeDecodeError:
            continue
    raise DatalistError(
        f"{path} is no text in UTF-8, UTF-16 or the Western European code page (cp1252); save it as CSV UTF-8."
    )


def _cells(text: str, separator: str) -> list[list[str]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    cells = ([cell.strip() for cell in row] for row in rows)
    return [row for row in cells if any(row)]


def _parse(text: str) -> tuple[list[list[str]], str | None]:
    """Rows by the separator that gives the header most cells; one that all rows agree on goes first."""
    hint = text.split("\n", 1)[0].strip().lower()
    if hint.startswith("sep=") and hint[4:] in SEPARATORS:  # a line that Excel reads
        return _cells(text.split("\n", 1)[1], hint[4:]), hint[4:]
    found: dict[str, list[list[str]]] = {separator: _cells(text, separator) for separator in SEPARATORS}

    def worth(separator: str) -> tuple[bool, int]:
        widths = [len(row) for row in found[separator]]
        return (len(set(widths)) == 1 and widths[0] > 1, widths[0] if widths else 0)

    best = max(SEPARATORS, key=worth)
    rows = found[best]
    if not rows or len(rows[0]) == 1:  # one column: no separator, commas in names included
        lines = [line.strip().strip('"') for line in text.splitlines()]
        return [[line] for line in lines if line], None
    return rows, best


def read_table(path: PathLike, expected: str = "a table with a header") -> Table:
    """Read a table as Excel, LibreOffice and scripts save it.

    UTF-8 with or without byte order mark, UTF-16 ("Unicode text"), or the Western European code page cp1252; cells
    separated by commas, semicolons or tabs, quoted or not. What was found is in the :class:`Table`.

    Args:
        path: the file.
        expected: what should be in it, for messages.

    Raises:
        DatalistError: a workbook, no text, or no row.
        TooLargeError: more than 256 MiB.
    """
    path = Path(path)
    if path.suffix.lower() in WORKBOOKS:
        raise DatalistError(f"{path} is a workbook; save the sheet as CSV UTF-8 and name that file.")
    check_text(path)
    text, encoding = _decode(path.read_bytes(), path)
    try:
        rows, separator = _parse(text.lstrip("\ufeff"))
    except csv.Error as error:
        raise DatalistError(f"{path} is no table of text cells ({error}); save it as CSV UTF-8.") from error
    if not rows:
        raise DatalistError(f"{path} is empty; expected {expected}.")
    table = Table(path, encoding, separator, rows)
    if encoding == "cp1252":
        logger.info("%s: not UTF-8, read as Western European text (cp1252)", printable(shown_name(path)))
    return table


def listed_file(cell: str, table: Table) -> Path:
    """The file or folder that a cell names: relative paths count from the table's folder; Windows' backslashes are
    read as ``/`` where no name holds one, and letters in either Unicode form, or in the table's own bytes, are the
    same name."""
    spellings = [cell, cell.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spelling) for form in ("NFC", "NFD") for spelling in spellings]
    if table.encoding == "cp1252":
        spellings += [os.fsdecode(spelling.encode("cp1252")) for spelling in spellings[:2]]
    paths = [table.path.parent / Path(spelling).expanduser() for spelling in spellings]
    return next((path for path in paths if path.exists()), paths[1])


def listed_images(table: Table) -> list[Path]:
    """The files of a list of images: those of the column that is called like an image (:data:`IMAGE_COLUMNS`), else of
    the first column when its first cell is already a file.

    Raises:
        DatalistError: a header without such a column, or no row below it.
    """
    column = table.column(IMAGE_COLUMNS)
    rows = table.rows[1:]
    if column is None:
        first = table.rows[0][0]
        if not (listed_file(first, table).exists() or file_kind_by_suffix(Path(first)) is not None):
            raise DatalistError(
                f"{table}: the first row {table.rows[0][:8]} is neither a header with an image column nor a file that "
                f"is there. Name the column image (or {', '.join(IMAGE_COLUMNS[1:4])}), or correct the path."
            )
        column, rows = 0, table.rows
    cells = [row[column] for row in rows if len(row) > column and row[column]]
    if not cells:
        raise DatalistError(f"{table}: no image below the header {table.rows[0][:8]}; add rows.")
    files = [listed_file(cell, table) for cell in cells]
    remember_data(table.path, files)
    return files
