"""Tables that lie beside classification data: groups of images, and files to leave out."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from monai.config import PathLike

from ...utils.shown_names import shown_name
from ..errors import DatalistError, Problem
from ..readers.files import file_stem
from .samples import Item
from .segmentation_parts import image_files
from .tables import read_table

__all__ = ["add_groups", "drop_listed"]

logger = logging.getLogger(__name__)
NEAR_DUPLICATES = "near_duplicates.tsv"


def _read(table: Path, what: str) -> pd.DataFrame:
    if not table.is_file():
        raise FileNotFoundError(f"{what} {table} does not exist; correct the path or leave it out.")
    return read_table(table).frame()


def drop_listed(pool: list[Item], root: Path, drop_list: PathLike | None) -> list[Item]:
    """Training images without those that a table names in its column ``train_file`` (else its first column).

    Args:
        pool: items to filter.
        root: folder that the table's paths count from.
        drop_list: the table; ``"auto"`` is ``near_duplicates.tsv`` in ``root`` when it is there; None keeps all.

    Raises:
        FileNotFoundError: no such table.
        DatalistError: files in the table that are not in the training part.
    """
    if drop_list is None or (drop_list == "auto" and not (root / NEAR_DUPLICATES).is_file()):
        return pool
    table = root / NEAR_DUPLICATES if drop_list == "auto" else Path(drop_list).expanduser()
    frame = _read(table, "drop_list")
    column = frame["train_file"] if "train_file" in frame else frame.iloc[:, 0]
    listed = {str((root / name.replace("\\", "/")).absolute()) for name in column}
    unknown = sorted(listed - {str(item["image"]) for item in pool})
    if unknown:
        raise DatalistError([Problem("unknown file in the drop list", name, table.name) for name in unknown])
    logger.info("%s: %d training image(s) left out", shown_name(table), len(listed))
    return [item for item in pool if str(item["image"]) not in listed]


def _group_table(root: Path, column: str, metadata_file: PathLike | None) -> tuple[Path, pd.DataFrame]:
    if metadata_file is not None:
        candidates = [Path(metadata_file).expanduser()]
    else:
        folder = root if root.is_dir() else root.parent
        candidates = sorted(folder.glob("*.csv"), key=lambda table: "metadata" not in table.name.lower())
    columns: dict[str, list[str]] = {}
    for table in candidates:
        frame = _read(table, "metadata_file")
        columns[table.name] = list(frame.columns)
        if column in frame.columns[1:]:
            return table, frame
    raise DatalistError(
        f"{root}: no table with the group column {column!r} beside an image column; found {columns or 'no CSV file'}. "
        "Name the right metadata_file or group_column."
    )


def add_groups(items: list[Item], root: Path, column: str, metadata_file: PathLike | None = None) -> list[Problem]:
    """Give every item the ``group`` that a table's ``column`` has for it; rows are found by the first column.

    That column may hold the item's name, its path in the data folder, its file name or its stem. An empty group makes
    the image a group of its own (a warning counts them).

    Returns:
        a problem for every image that no row mentions, and for images that rows put into two groups.
    """
    table, frame = _group_table(root, column, metadata_file)
    groups: dict[str, str] = {}
    problems, alone = [], 0
    for cell, group in zip(frame.iloc[:, 0], frame[column], strict=True):
        if groups.setdefault(cell.replace("\\", "/"), group) != group:
            problems.append(Problem("two groups of one image", cell, f"{groups[cell]} and {group} in {table.name}"))
    for item in items:
        path = Path(image_files(item)[0] if "image" in item else item["image_a"])
        relative = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        keys = (item["name"], relative, path.name, file_stem(path))
        group = next((groups[key] for key in keys if key in groups), None)
        if group is None:
            problems.append(Problem("image without a row in the group table", str(path), table.name))
        alone += group == ""
        item["group"] = group or f"(none) {item['name']}"
    if alone:
        logger.warning("%s: %d image(s) have no %s; each is a group of its own", shown_name(table), alone, column)
    return problems
