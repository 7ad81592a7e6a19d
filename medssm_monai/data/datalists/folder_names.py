"""Folders of a data set, found by the names that such folders commonly have, in upper or lower case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..readers.files import natural_key

__all__ = [
    "IMAGE_FOLDERS",
    "MASK_FOLDERS",
    "PART_FOLDERS",
    "folders_by_name",
    "named_folder",
    "part_folders",
    "visible_folders",
]

IMAGE_FOLDERS = ("images", "image")
MASK_FOLDERS = ("masks", "mask", "labels", "label")
PART_FOLDERS = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def visible_folders(root: Path) -> list[Path]:
    """Subfolders in natural order, without hidden ones and what archives leave (``__MACOSX``)."""
    found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]
    return sorted(found, key=lambda path: natural_key(path.name))


def folders_by_name(root: Path) -> dict[str, Path]:
    """All subfolders by their names in lower case; none where there is no folder ``root``."""
    if not root.is_dir():
        return {}
    return {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}


def named_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Subfolder with the first of the names that there is."""
    present = folders_by_name(root)
    return next((present[name.lower()] for name in names if name.lower() in present), None)


def part_folders(root: Path) -> dict[str, Path]:
    """Folders of official parts (``Training``, ``val``, ``Testing``, ...) that lie in a folder."""
    found = {part: named_folder(root, names) for part, names in PART_FOLDERS.items()}
    return {part: folder for part, folder in found.items() if folder is not None}
