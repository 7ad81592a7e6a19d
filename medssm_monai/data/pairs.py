"""Datalists of registered pairs without parts, for inference."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from monai.config import PathLike

from .check import raise_for
from .errors import DatalistError, Problem
from .files import file_kind, file_stem
from .fusion import match_sources

__all__ = ["pair_datalist"]

COLUMNS = ("image_a", "image_b")


def pair_datalist(source: PathLike, sources: Sequence[str]) -> list[dict[str, str]]:
    """Items ``{"image_a": path, "image_b": path, "name": name, "folder": subfolder}`` for inference.

    Args:
        source: a folder of pairs, or a CSV file with the columns ``image_a`` and ``image_b`` (relative paths count from
            the CSV's folder).
        sources: two folder names or two endings, see :func:`~medssm_monai.data.fusion_datalists`; CSV files
            need none.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        DatalistError: images without partner, two files of one name, files that do not exist or are no images, all of
            them at once; a CSV file without the columns or without rows.
    """
    root = Path(source).expanduser()
    if not str(source).strip() or not root.exists():
        raise FileNotFoundError(
            f"{str(source)!r} does not exist (working folder {Path.cwd()}); name a folder with the sources "
            f"{' and '.join(sources)}, or a CSV file with the columns image_a and image_b."
        )
    root = root.absolute()
    if root.is_file():
        return _from_csv(root)
    pairs, problems = match_sources(root, sources)
    raise_for(problems)
    for pair in pairs:  # endings: pairs of different subfolders may share a name
        parent = Path(pair["image_a"]).parent
        pair["folder"] = parent.relative_to(root).as_posix() if sources[0].startswith("_") else ""
    return pairs


def _from_csv(path: Path) -> list[dict[str, str]]:
    if path.suffix.lower() != ".csv":
        raise DatalistError(f"{path} is no CSV file; fusion takes a folder of pairs or a CSV file that lists them.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [
            {(key or "").strip().lower(): (cell or "").strip() for key, cell in row.items() if isinstance(cell, str)}
            for row in csv.DictReader(file)
        ]
    if not rows or any(not row.get(column) for row in rows for column in COLUMNS):
        raise DatalistError(f"{path} needs the columns image_a and image_b, both filled in every row.")
    pairs = [{column: str(path.parent / Path(row[column]).expanduser()) for column in COLUMNS} for row in rows]
    files = [Path(pair[column]) for pair in pairs for column in COLUMNS]
    problems = [Problem("file not found", str(file)) for file in files if not file.is_file()]
    unknown = [file for file in files if file.is_file() and file_kind(file) is None]
    raise_for(
        problems + [Problem("unreadable file", str(file), "its suffix is no known image format") for file in unknown]
    )
    return [{**pair, "name": file_stem(Path(pair["image_a"])), "folder": ""} for pair in pairs]
