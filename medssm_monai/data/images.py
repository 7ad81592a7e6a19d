"""Datalists of images without labels, for inference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from monai.config import PathLike

from ..utils.shown_names import remember_data
from ..utils.typed_option import typed_option
from .errors import DatalistError, Problem
from .files import file_stem
from .layouts import IMAGE_FOLDERS
from .series import item_problem, list_items
from .tables import is_table, listed_images, read_table

__all__ = ["image_datalist"]


def _from_folder(folder: Path, volumes: bool) -> list[Path]:
    found = list_items(folder, volumes)
    for name in IMAGE_FOLDERS:
        if not found and (folder / name).is_dir():
            found = list_items(folder / name, volumes)
    if not found:
        raise DatalistError([Problem("no images", str(folder))])
    return found


def image_datalist(source: PathLike | Sequence[PathLike], spatial_dims: int = 2) -> list[dict[str, str]]:
    """Items ``{"image": path, "name": stem}`` for inference.

    Args:
        source: a folder (its own images, else those of its ``images/``, in natural order), one image file, a table of
            images (:func:`~.tables.listed_images`: column ``image``, ``path``, ``file`` or ``filename``, or no header;
            relative paths count from its folder), or a list of image files.
        spatial_dims: 3 takes folders of a DICOM series as items too.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        DatalistError: no images found, or files that do not exist or are no images, all of them at once.
    """
    source = typed_option(source, "dataset_dir")
    volumes = spatial_dims == 3
    if isinstance(source, Sequence) and not isinstance(source, str):
        paths = [Path(str(entry)).expanduser().absolute() for entry in source]
        if paths:
            remember_data(os.path.commonpath([path.parent for path in paths]))
    else:
        if not str(source).strip():
            raise FileNotFoundError("no input given; name an image file, a folder of images or a CSV file.")
        root = Path(str(source)).expanduser()
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist (working folder {Path.cwd()}); correct the path.")
        root = root.absolute()
        remember_data(root)
        if root.is_dir():
            paths = _from_folder(root, volumes)
        else:
            paths = (
                listed_images(read_table(root, "one image path per line, or a column image"))
                if is_table(root)
                else [root]
            )
    if not paths:
        raise DatalistError("the list of images is empty; name at least one image file.")
    problems = [problem for path in paths if (problem := item_problem(path, volumes)) is not None]
    if problems:
        raise DatalistError(problems)
    return [{"image": str(path), "name": file_stem(path)} for path in paths]
