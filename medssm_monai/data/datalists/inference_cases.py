"""Images for inference whose channels lie in files of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...utils.shown_names import remember_data
from ..errors import DatalistError, Problem
from ..readers.files import DICOM, file_kind, file_stem, list_images
from .case_layouts import folder_cases
from .channel_files import NUMBER, Cases, channel_of, named_cases, numbered_cases
from .checks import raise_for
from .folder_names import IMAGE_FOLDERS, named_folder
from .tables import Table, listed_file

__all__ = ["channel_cases", "listed_cases"]

FOLDERS = (*IMAGE_FOLDERS, "imagesTs")
NO_FILE_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|^\.|[. ]$')
"""Names that a result could not have, under any system."""


def channel_cases(root: Path, channel_names: Sequence[str] | None, volumes: bool) -> Cases | None:
    """Images of a folder whose files are called by their channels; None where they are not, and each is one image.

    Args:
        root: the folder, or one with ``images/`` or ``imagesTs/``.
        channel_names: of the images; None goes by nnU-Net's numbers alone.
        volumes: the images are volumes.

    Raises:
        DatalistError: channels that are missing, for all images at once.
    """
    names = channel_names if channel_names is not None and len(channel_names) > 1 else None
    folder = root
    files = list_images(root, report=False)
    if not files:
        inner = named_folder(root, FOLDERS)
        folder = inner if inner is not None else root
        files = list_images(folder, report=False) if inner is not None else []
    problems: list[Problem] = []
    if _numbered(files, channel_names):
        cases = numbered_cases(files, channel_names, problems, folder)
    elif names is not None and any(channel_of(file_stem(path), names) for path in files):
        cases = named_cases(files, names, problems, folder)
    elif names is not None and not files and _holds_channels(root, names):
        cases, _ = folder_cases(root, names, problems)
    else:
        return None
    raise_for(problems)
    return cases


def _numbered(files: Sequence[Path], channel_names: Sequence[str] | None) -> bool:
    """Whether all files are called ``<name>_0000``, ``<name>_0001``, ... with the numbers of channels."""
    matches = [NUMBER.fullmatch(file_stem(path)) for path in files]
    numbers = {int(match[2]) for match in matches if match is not None}
    if not files or None in matches or 0 not in numbers or any(file_kind(path) == DICOM for path in files):
        return False
    if channel_names is not None:
        return max(numbers) < len(channel_names)
    # Without names a number of frames is told from one of channels by every image having the same ones.
    cases = {match[1] for match in matches if match is not None}
    return numbers == set(range(len(numbers))) and (
        numbers == {0} or len(files) == len(cases) * len(numbers) > len(numbers)
    )


def _holds_channels(root: Path, names: Sequence[str]) -> bool:
    folders = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    return any(channel_of(file_stem(file), names) for folder in folders for file in folder.iterdir() if file.is_file())


def listed_cases(table: Table, channel_names: Sequence[str]) -> Cases | None:
    """Images of a table with a column for each channel; None where it has none of them.

    Raises:
        DatalistError: columns or cells that are missing, two rows of one name, names that no file can have.
    """
    columns = {name: table.column([name]) for name in channel_names}
    if all(column is None for column in columns.values()):
        return None
    missing = [name for name, column in columns.items() if column is None]
    if missing:
        raise DatalistError(
            f"{table} lacks the column(s) {', '.join(missing)}; each channel has one, and the header is "
            f"{table.rows[0][:8]}."
        )
    named = table.column(["name"])
    cases: Cases = {}
    problems: list[Problem] = []
    for number, row in enumerate(table.rows[1:], start=2):
        cells = {name: row[c] if c is not None and c < len(row) else "" for name, c in columns.items()}
        empty = [name for name, cell in cells.items() if not cell]
        if empty:
            problems.append(Problem("missing channels", f"{table.path}, row {number}", f"no {', '.join(empty)}"))
            continue
        files = [listed_file(cell, table) for cell in cells.values()]
        stem = file_stem(files[0])
        told = channel_of(stem, channel_names)
        given = row[named] if named is not None and named < len(row) else ""
        name = given or (told[0] if told else stem)
        if NO_FILE_NAME.search(given):
            problems.append(Problem("name that no file can have", f"{table.path}, row {number}", repr(given)))
        elif name in cases:
            problems.append(Problem("two files with one name", str(files[0]), f"row {number}, also {cases[name][0]}"))
        else:
            cases[name] = files
    raise_for(problems)
    if not cases:
        raise DatalistError(f"{table}: no image below the header {table.rows[0][:8]}; add rows.")
    remember_data(table.path, [file for files in cases.values() for file in files])
    return cases
