"""Folder and table layouts of classification data, as labeled images."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..errors import DatalistError, Problem
from ..readers.files import file_stem, natural_key
from ..readers.series import list_items
from .folder_names import IMAGE_FOLDERS, MASK_FOLDERS, part_folders, visible_folders
from .samples import Item, Samples
from .tables import read_table

__all__ = ["detect_class_layout", "folder_samples", "table_samples"]

logger = logging.getLogger(__name__)
TABLE = re.compile(r"(?P<stem>.*Training)_(GroundTruth|Classes)\.csv", re.IGNORECASE)
UNKNOWN = "UNK"


def _class_folders(folder: Path, class_names: Sequence[str] | None) -> dict[str, Path]:
    present = {path.name: path for path in visible_folders(folder)}
    if class_names is None:
        return present
    left = [name for name in present if name not in class_names]
    if left:
        logger.warning(
            "%s: folders that are no named class are left out: %s", shown_name(folder), printable(", ".join(left))
        )
    return {name: present[name] for name in class_names if name in present}


def _class_items(root: Path, folder: Path, label: int, volumes: bool) -> list[Item]:
    """Images of a class folder, or of the ``images/`` in it (COVID-19 Radiography keeps ``masks/`` beside those)."""
    inner = next((path for path in visible_folders(folder) if path.name.lower() in IMAGE_FOLDERS), folder)
    return [
        {
            "image": str(path),
            "label": label,
            "name": path.parent.relative_to(root).joinpath(file_stem(path)).as_posix(),
        }
        for path in list_items(inner, volumes)
    ]


def folder_samples(root: Path, class_names: Sequence[str] | None = None, volumes: bool = False) -> Samples:
    """One folder per class, holding images or an ``images/`` folder; also below ``Training/``, ``Testing/``, ....

    Classes are the folder names in natural order. A folder ``masks/`` beside ``images/`` is not looked at.

    Args:
        root: dataset folder.
        class_names: classes to use, in label order; other folders are left out with a warning.
        volumes: folders of a DICOM series are items too.
    """
    parts = part_folders(root)
    if parts and "training" not in parts:
        raise DatalistError(f"{root} holds {[p.name for p in parts.values()]} but no training folder; add train/.")
    folders = {part: _class_folders(path, class_names) for part, path in (parts or {"training": root}).items()}
    names = list(class_names or sorted({name for found in folders.values() for name in found}, key=natural_key))
    if names and {name.lower() for name in names} <= {*IMAGE_FOLDERS, *MASK_FOLDERS}:
        raise DatalistError(f"{root} holds {names}: images with masks, not one folder per class.")
    samples = Samples(names, rule=f"the folders {', '.join(path.name for path in parts.values())}" if parts else "")
    lists: dict[str, list[Item]] = {}
    for part, found in folders.items():
        lists[part] = []
        for label, name in enumerate(names):
            items = _class_items(root, found[name], label, volumes) if name in found else []
            if not items:
                where = found.get(name, parts.get(part, root) / name)
                detail = "holds no image files" if name in found else "there is no such folder"
                samples.problems.append(Problem("empty class", str(where), detail))
            lists[part] += items
    samples.pool, samples.validation, samples.test = lists["training"], lists.get("validation"), lists.get("test")
    return samples


def _class_table(table: Path) -> tuple[pd.DataFrame, bool]:
    """The table, and whether its numbers are written with decimal commas (Excel, where semicolons separate cells)."""
    found = read_table(table)
    frame = found.frame()
    if len(frame.columns) < 2 or frame.empty:
        detail = f"columns {list(frame.columns)}, {len(frame)} rows; expected image names and one column per class"
        raise DatalistError(f"{found}: {detail}.")
    return frame, found.separator != ","


def _one_hot(table: Path, frame: pd.DataFrame, problems: list[Problem]) -> tuple[list[str], list[int | None]]:
    """Class names, and the label of each row; None where the row is no 0/1 row with a single 1."""
    columns = list(frame.columns[1:])
    values = frame[columns].apply(pd.to_numeric, errors="coerce")
    if len(columns) == 1:  # one yes/no column, as in the ISIC 2017 tables
        values.insert(0, f"no {columns[0]}", 1 - values[columns[0]])
    elif columns[-1].upper() == UNKNOWN and (values[columns[-1]] == 0).all():
        values = values.drop(columns=columns[-1])  # ISIC 2019: no training image is of unknown class
    labels: list[int | None] = []
    for row, (image, numbers) in enumerate(zip(frame.iloc[:, 0], values.to_numpy(), strict=True), start=2):
        valid = set(numbers.tolist()) <= {0.0, 1.0} and numbers.sum() == 1
        labels.append(int(numbers.argmax()) if valid else None)
        if not valid:
            detail = f"row {row} of {table.name}: {', '.join(map(str, frame.iloc[row - 2, 1:]))}"
            problems.append(Problem("row without a single class", str(image), detail))
    return list(values.columns), labels


def _image_folder(root: Path, table: Path) -> Path:
    stem = TABLE.fullmatch(table.name)["stem"]  # type: ignore[index]
    names = {f"{stem}{ending}".lower() for ending in ("_Input", "_Data", "")} | set(IMAGE_FOLDERS)
    folders = [path for path in visible_folders(root) if path.name.lower() in names]
    if not folders:
        raise DatalistError(f"{root}: no image folder beside {table.name}; expected {stem}_Input/ or images/.")
    inner = [path for path in visible_folders(folders[0]) if path.name == folders[0].name]  # archives unpack so
    return inner[0] if inner and not list_items(folders[0], report=False) else folders[0]


def table_of(root: Path) -> Path | None:
    """The label table of the training images (``ISIC_2019_Training_GroundTruth.csv`` and its like)."""
    return next((path for path in sorted(root.glob("*.csv")) if TABLE.fullmatch(path.name)), None)


def table_samples(root: Path, class_names: Sequence[str] | None = None, volumes: bool = False) -> Samples:
    """ISIC's classification layout: ``ISIC_2019_Training_GroundTruth.csv`` (one-hot) and ``ISIC_2019_Training_Input/``.

    The first column names the image; every other column is a class, exactly one of them 1. A single 0/1 column (ISIC
    2017's ``melanoma``) makes two classes. ``UNK`` is no class as long as no row has it. Images that no row mentions
    are left out with a warning. Only the training images are used: they are all to be split.
    """
    table = table_of(root)
    if table is None:
        raise DatalistError(f"{root}: no label table; expected ISIC_2019_Training_GroundTruth.csv or its like.")
    frame, decimal_commas = _class_table(table)
    if decimal_commas:
        frame.iloc[:, 1:] = frame.iloc[:, 1:].apply(lambda column: column.str.replace(",", "."))
    problems: list[Problem] = []
    names, labels = _one_hot(table, frame, problems)
    if class_names is not None and set(class_names) != set(names):
        raise DatalistError(f"{table}: its classes are {names}, class_names says {list(class_names)}.")
    order = [list(class_names or names).index(name) for name in names]
    files = {file_stem(path): path for path in list_items(_image_folder(root, table), volumes)}
    items = []
    for image, label in zip(frame.iloc[:, 0], labels, strict=True):
        stem = file_stem(Path(image.replace("\\", "/")))
        if stem not in files:
            problems.append(Problem("row without a file", str(image), table.name))
        elif label is not None:
            items.append({"image": str(files[stem]), "label": order[label], "name": stem})
    seen = frame.iloc[:, 0].map(lambda image: file_stem(Path(image.replace("\\", "/"))))
    problems += [Problem("two rows for one image", str(name), table.name) for name in seen[seen.duplicated()].unique()]
    left = sorted(files.keys() - set(seen))
    if left:
        logger.warning(
            "%s: %d image(s) without a row are left out: %s", shown_name(table), len(left), printable(", ".join(left))
        )
    samples = Samples(list(class_names or names), items, problems=problems)
    missing = set(range(len(names))) - {item["label"] for item in items}
    samples.problems += [Problem("empty class", samples.class_names[label], table.name) for label in sorted(missing)]
    return samples


def detect_class_layout(root: Path) -> str:
    """``"medmnist"``, ``"table"`` or ``"folders"``, by what lies in a folder (or ``"medmnist"`` for a file).

    Raises:
        DatalistError: none of them.
    """
    if root.is_file() or any(path.suffix.lower() == ".npz" for path in root.iterdir()):
        return "medmnist"
    if table_of(root) is not None:
        return "table"
    if visible_folders(root):
        return "folders"
    present = sorted(path.name for path in root.iterdir())[:20]
    raise DatalistError(
        f"{root}: no known layout. Expected one folder per class, ISIC_2019_Training_GroundTruth.csv with its image "
        f"folder, or MedMNIST .npz files; found {present or 'an empty folder'}."
    )
