"""Datalists of images without labels, for inference."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from monai.config import PathLike

from .errors import DatalistError, Problem
from .files import file_kind, file_stem, list_images
from .layouts import IMAGE_FOLDERS

__all__ = ["image_datalist"]

COLUMNS = ("image", "path", "file", "filename", "image_path")


def _from_file(path: Path) -> list[Path]:
    """The file itself, or what a CSV file lists."""
    if path.suffix.lower() != ".csv":
        return [path]
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    if not rows:
        raise DatalistError(f"{path} is empty; expected one image path per line, or a column named 'image'.")
    header = [cell.lower() for cell in rows[0]]
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    rows = rows if column is None else rows[1:]
    cells = [row[column or 0] for row in rows if len(row) > (column or 0)]
    return [cell if cell.is_absolute() else path.parent / cell for cell in map(Path, cells)]


def _from_folder(folder: Path) -> list[Path]:
    found = list_images(folder)
    for name in IMAGE_FOLDERS:
        if not found and (folder / name).is_dir():
            found = list_images(folder / name)
    if not found:
        raise DatalistError([Problem("no images", str(folder))])
    return found


def image_datalist(source: PathLike | Sequence[PathLike]) -> list[dict[str, str]]:
    """Items ``{"image": path, "name": stem}`` for inference.

    Args:
        source: a folder (its own images, else those of its ``images/``, in natural order), one image file, a CSV file
            (column ``image``, ``path``, ``file`` or ``filename``, else the first column; relative paths count from
            the CSV's folder), or a list of image files.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        DatalistError: no images found, or files that do not exist or are no images, all of them at once.
    """
    if isinstance(source, (str, Path)):
        if not str(source).strip():
            raise FileNotFoundError("no input given; name an image file, a folder of images or a CSV file.")
        root = Path(source).expanduser()
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist (working folder {Path.cwd()}); correct the path.")
        root = root.absolute()
        paths = _from_folder(root) if root.is_dir() else _from_file(root)
    else:
        paths = [Path(entry).expanduser().absolute() for entry in source]
    if not paths:
        raise DatalistError("the list of images is empty; name at least one image file.")
    problems = [Problem("file not found", str(path)) for path in paths if not path.is_file()]
    unknown = [path for path in paths if path.is_file() and file_kind(path) is None]
    problems += [Problem("unreadable file", str(path), "its suffix is no known image format") for path in unknown]
    if problems:
        raise DatalistError(problems)
    return [{"image": str(path), "name": file_stem(path)} for path in paths]
