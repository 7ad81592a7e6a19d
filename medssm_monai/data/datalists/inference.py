"""Datalists of images or registered pairs without labels and parts, for inference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from ...utils.command_line import typed_option
from ...utils.shown_names import remember_data
from ..errors import DatalistError, Problem
from ..readers.files import file_stem
from ..readers.series import item_problem, list_items
from .channel_files import Cases
from .checks import raise_for
from .dataset_json import check_channel_names
from .folder_names import IMAGE_FOLDERS
from .fusion import match_sources
from .inference_cases import channel_cases, listed_cases
from .segmentation_parts import channel_files_of_pictures
from .tables import is_table, listed_file, listed_images, read_table

__all__ = ["image_datalist", "pair_datalist"]


def _from_folder(folder: Path, volumes: bool) -> list[Path]:
    found = list_items(folder, volumes)
    for name in IMAGE_FOLDERS:
        if not found and (folder / name).is_dir():
            found = list_items(folder / name, volumes)
    if not found:
        raise DatalistError([Problem("no images", str(folder))])
    return found


def image_datalist(
    source: PathLike | Sequence[PathLike], spatial_dims: int = 2, channel_names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Items ``{"image": path, "name": stem}`` for inference; ``image`` is a list where each channel has its file.

    Args:
        source: a folder (its own images, else those of its ``images/`` or ``imagesTs/``, in natural order), one image
            file, a table of images (:func:`~.tables.listed_images`: column ``image``, ``path``, ``file`` or
            ``filename``, or no header; or a column for each channel; relative paths count from its folder), or a list
            of image files.
        spatial_dims: 3 takes folders of a DICOM series as items too.
        channel_names: of the images. With two or more, files ``<name>_0000``, ``<name>_0001``, files
            ``<name>_<channel>``, and the files of a folder for each case belong together; where nothing is called so,
            each file is one image. None groups the numbers alone, of volumes.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        DatalistError: no images found, channels that are missing, files that do not exist or are no images, all of
            them at once.
        ValueError: ``channel_names`` that are none.
    """
    source = typed_option(source, "dataset_dir")
    volumes = spatial_dims == 3
    names = None if channel_names is None else check_channel_names(channel_names)
    several = names is not None and len(names) > 1
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
            if several or volumes:
                cases = channel_cases(root, names, volumes)
                if cases is not None:
                    return _items(cases, volumes)
            paths = _from_folder(root, volumes)
        else:
            if names is not None and several and is_table(root):
                cases = listed_cases(read_table(root, "a column for each channel"), names)
                if cases is not None:
                    return _items(cases, volumes)
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


def _items(cases: Cases, volumes: bool) -> list[dict[str, Any]]:
    problems = [item_problem(path, volumes) for files in cases.values() for path in files]
    raise_for([problem for problem in problems if problem is not None])
    found = {name: [str(path) for path in files] for name, files in cases.items()}
    items = [{"image": files if len(files) > 1 else files[0], "name": name} for name, files in found.items()]
    raise_for([] if volumes else channel_files_of_pictures(items))
    return items


COLUMNS = ("image_a", "image_b")


def pair_datalist(source: PathLike, sources: Sequence[str], spatial_dims: int = 2) -> list[dict[str, str]]:
    """Items ``{"image_a": path, "image_b": path, "name": name, "folder": subfolder}`` for inference.

    Args:
        source: a folder of pairs, or a table (CSV) with the columns ``image_a`` and ``image_b`` (relative paths count
            from its folder).
        sources: two folder names or two endings, see :func:`~medssm_monai.data.fusion_datalists`; CSV files
            need none.
        spatial_dims: 3 takes folders of a DICOM series as images too.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        DatalistError: images without partner, two files of one name, files that do not exist or are no images, all of
            them at once; a CSV file without the columns or without rows.
    """
    source, volumes = str(typed_option(source, "dataset_dir")), spatial_dims == 3
    root = Path(source).expanduser()
    if not source.strip() or not root.exists():
        raise FileNotFoundError(
            f"{source!r} does not exist (working folder {Path.cwd()}); name a folder with the sources "
            f"{' and '.join(map(str, sources))}, or a CSV file with the columns image_a and image_b."
        )
    root = root.absolute()
    remember_data(root)
    if root.is_file():
        return _from_table(root, volumes)
    sources = [str(source) for source in sources]
    pairs, problems = match_sources(root, sources, volumes)
    raise_for(problems + _problems(pairs, volumes))
    for pair in pairs:  # endings: pairs of different subfolders may share a name
        parent = Path(pair["image_a"]).parent
        pair["folder"] = parent.relative_to(root).as_posix() if sources[0].startswith("_") else ""
    return pairs


def _problems(pairs: Sequence[dict[str, str]], volumes: bool) -> list[Problem]:
    found = (item_problem(Path(pair[column]), volumes) for pair in pairs for column in COLUMNS)
    return [problem for problem in found if problem is not None]


def _from_table(path: Path, volumes: bool) -> list[dict[str, str]]:
    if not is_table(path):
        raise DatalistError(f"{path} is no CSV file; fusion takes a folder of pairs or a CSV file that lists them.")
    table = read_table(path, "the columns image_a and image_b")
    found = [table.column([name]) for name in COLUMNS]
    columns = [column for column in found if column is not None]
    rows = [[*row, *[""] * (len(table.rows[0]) - len(row))] for row in table.rows[1:]]
    if len(columns) < len(found) or not rows or any(not row[column] for row in rows for column in columns):
        raise DatalistError(
            f"{table} needs the columns image_a and image_b, both filled in every row; its header is "
            f"{table.rows[0][:8]}."
        )
    files = [[listed_file(row[column], table) for column in columns] for row in rows]
    remember_data(path, [file for both in files for file in both])
    pairs = [dict(zip(COLUMNS, map(str, both), strict=True)) for both in files]
    raise_for(_problems(pairs, volumes))
    return [{**pair, "name": file_stem(Path(pair["image_a"])), "folder": ""} for pair in pairs]
