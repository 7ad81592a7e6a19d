"""Lists of images in Parquet files, which may be of any length: they are read in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from ...data.datalists.tables import IMAGE_COLUMNS, Table, listed_file
from ...data.errors import DatalistError
from .study import Study, study_of_files

__all__ = ["PARQUET", "ParquetList"]

PARQUET = (".parquet", ".pq")
ROWS = 4096  # at once
NO_FILE = "a row of the list that names no file, or not all; fill it in, or take it out"


class ParquetList:
    """Images that a Parquet file lists: a column as of a table (``image``, ``path``, ``file``, ...), or one for each
    image of a pair (``image_a``, ``image_b``) or each channel.

    Args:
        path: the file; relative paths in it count from its folder.
        names: columns of pairs or channels; empty for single images.

    Raises:
        ImportError: PyArrow is not installed.
        DatalistError: no Parquet file, or one without the columns.
    """

    kind = "images"

    def __init__(self, path: Path, names: Sequence[str] = ()) -> None:
        parquet, there = optional_import("pyarrow.parquet")
        if not there:
            raise ImportError('Parquet lists need PyArrow; install it with: pip install "medssm-monai[scale]"')
        try:
            self._file: Any = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise DatalistError(f"{path} is no Parquet file ({error}); write it again, or give a CSV table.") from error
        self.path = path
        header = list(self._file.schema_arrow.names)
        self._table = Table(path, "utf-8", None, [header])  # names of columns, and of files, as in every table
        numbers = [self._table.column(wanted) for wanted in ([[name] for name in names] or [list(IMAGE_COLUMNS)])]
        if None in numbers:
            wanted = " and ".join(names) if names else f"image (or {', '.join(IMAGE_COLUMNS[1:4])})"
            raise DatalistError(f"{path} has the columns {', '.join(header[:8])}; name those of the files {wanted}.")
        self._columns = [header[number] for number in numbers if number is not None]

    def __iter__(self) -> Iterator[Study]:
        for part in self._file.iter_batches(batch_size=ROWS, columns=self._columns):
            values = [part.column(name).to_pylist() for name in self._columns]
            for cells in zip(*values, strict=True):
                files = [listed_file(str(cell or ""), self._table) for cell in cells]
                study = study_of_files(files, self.path.parent)
                yield study if all(cells) else replace(study, wrong=NO_FILE)

    def count(self) -> int:
        return int(self._file.metadata.num_rows)
