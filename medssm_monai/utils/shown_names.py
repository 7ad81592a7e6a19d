"""How files of patients are called in what a run leaves behind: relative to the data folder, in full only if asked for.

Folders are often called after patients, and reports, logs and trackers go further than the images do. So a file is
named from the folder that the run was given, and one from elsewhere by its name alone. With the environment variable
``MEDSSM_FULL_NAMES=1`` names stay as they are. Errors name a file as the user did, so that it can be fixed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "DATA_FOLDER",
    "FULL_NAMES",
    "find_shown",
    "full_names",
    "remember_called",
    "remember_data",
    "remember_place",
    "shown_name",
    "shown_text",
    "shown_value",
]

FULL_NAMES = "MEDSSM_FULL_NAMES"
"""Environment variable: 1 leaves file names as they are."""
DATA_FOLDER = "(data folder)"
"""What the data folder itself is called."""
KEPT = 64
_folders: dict[Path, str] = {}  # folder -> what it is called; the one given last at the end
_called: dict[str, str] = {}  # source of an image as its metadata name it -> what it is called


def full_names() -> bool:
    """Whether file names were asked for in full."""
    return os.environ.get(FULL_NAMES, "").strip().lower() not in ("", "0", "false", "no")


def remember_data(source: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Remember where the data of a run lie.

    Args:
        source: folder, or a file (a list, one image, an ``.npz`` file), whose folder counts.
        files: what a list names; of files elsewhere the folder that holds them all counts too.
    """
    whole = Path(os.path.abspath(source))
    folder = whole if whole.is_dir() else whole.parent
    outside = [path for file in files if not (path := Path(os.path.abspath(file))).is_relative_to(folder)]
    if outside:
        _remember(Path(os.path.commonpath([path.parent for path in outside])))
    _remember(folder)


def remember_place(folder: str | os.PathLike[str], called: str) -> None:
    """Remember another folder whose place is nobody's business, such as a bundle that is served to other computers."""
    _remember(Path(os.path.abspath(folder)), called)


def remember_called(source: str | os.PathLike[str], called: str) -> None:
    """Remember a name for one image, such as the UID of a DICOM series, whose files may be called after a patient.

    Args:
        source: file, or the text that stands for several (``str(series.source)``).
        called: what it is called from now on.
    """
    _called[os.fspath(source)] = called


def _remember(folder: Path, called: str = DATA_FOLDER) -> None:
    if folder.parent == folder:  # nothing would be hidden
        return
    _folders.pop(folder, None)
    _folders[folder] = called
    for old in list(_folders)[:-KEPT]:
        _folders.pop(old, None)


def shown_name(path: str | os.PathLike[str]) -> str:
    """A file or folder as it may be shown: by the name it was given, else from the data folder on, else by its name
    alone.

    What is no absolute path (one that was typed so, a name that was made up) stays as it is.
    """
    text = os.fspath(path)
    if full_names() or not text:
        return text
    if text in _called:
        return _called[text]
    whole = Path(os.path.abspath(text))
    folder = next((one for one in reversed(tuple(_folders)) if whole.is_relative_to(one)), None)
    if folder is None:
        return _alone(whole) if os.path.isabs(text) else text
    return _folders.get(folder, DATA_FOLDER) if whole == folder else whole.relative_to(folder).as_posix()


def _alone(path: Path) -> str:
    """The name of a file; of an image in an ``.npz`` file (``FILE/KEY/NUMBER``) from that file on."""
    above = next((one for one in path.parents if one.suffix.lower() == ".npz"), path)
    return path.relative_to(above.parent).as_posix()


def shown_value(text: str) -> str:
    """A setting in words: a path as :func:`shown_name` has it, whatever else without the way to the data folders."""
    is_path = (
        os.path.isabs(text) or Path(os.path.abspath(text)) in _folders or (os.sep in text and os.path.exists(text))
    )
    return shown_name(text) if is_path else shown_text(text)


def shown_text(text: str) -> str:
    """A message without the way to the data folders in it."""
    if full_names():
        return text
    for folder in sorted(tuple(_folders), key=lambda one: -len(one.parts)):
        place = rf"(?<![\w.-]){re.escape(str(folder))}"
        text = re.sub(rf"{place}[/\\](?=\S)", "", text)
        called = _folders.get(folder, DATA_FOLDER).replace("\\", r"\\")
        text = re.sub(rf"{place}(?![\w.-])", called, text)
    return text


def find_shown(name: str) -> Path | None:
    """The file behind a name that :func:`shown_name` gave in this process; None where it is not there any more."""
    path = Path(next((source for source, called in _called.items() if called == name), name))
    places = [path] if path.is_absolute() else [folder / path for folder in reversed(tuple(_folders))]
    return next((place for place in places if place.is_file()), None)
