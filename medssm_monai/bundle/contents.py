"""What belongs to a bundle: its configs, pages, splits and the weights that come with it; nothing that a run makes."""

from __future__ import annotations

import os
from pathlib import Path

from .weights import WEIGHTS, named_by_its_card

__all__ = [
    "LARGEST_FILE",
    "LARGE_FILES",
    "LICENSE",
    "MODELS",
    "bundle_files",
    "is_inner_name",
    "left_out",
    "require_outside",
    "weights_and_beside",
]

LARGEST_FILE = 25 * 2**20
"""Bytes of the largest file of a bundle, as MONAI's Model Zoo has it."""
LARGE_FILES = "large_files.yml"
"""Where a bundle of the Model Zoo names files that are fetched from elsewhere."""
LICENSE = "LICENSE"
FOLDERS = ("configs", "docs", "scripts", "splits")
MODELS = "models"
BESIDE = (".json", ".md")  # of weights: their settings and their card
MADE = {"__pycache__", "eval", "mlruns", "outputs"}
MADE_ENDS = (".db", ".pyc", ".pyo")
FORBIDDEN = set('\\:*?"<>|')  # in names: Windows takes none of them, and some lead elsewhere


def bundle_files(root: Path) -> dict[str, Path]:
    """Names within a bundle, sorted, and the files: all that a copy or an archive of it holds.

    These are ``LICENSE``, ``large_files.yml``, what lies in ``configs``, ``docs``, ``scripts`` and ``splits``,
    ``models/model.pt``, and other weights whose model card states their SHA-256; each of the weights with the settings
    and the card beside it. Hidden files, caches, databases and whatever a run makes (``eval``, ``outputs``,
    ``models/trained``, dated weights, exports) are left out, and so is a folder that is not named here, of images for
    instance.
    """
    files = [root / name for name in (LICENSE, LARGE_FILES) if (root / name).is_file()]
    for folder in FOLDERS:
        files += _below(root / folder)
    for weights in (root / MODELS).glob("*.pt"):
        if not weights.name.startswith(".") and (weights.name == WEIGHTS or named_by_its_card(weights)):
            files += weights_and_beside(weights)
    return dict(sorted((path.relative_to(root).as_posix(), path) for path in files))


def _below(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _belongs(name)]
        found += [Path(place, name) for name in names if _belongs(name)]
    return found


def _belongs(name: str) -> bool:
    return not name.startswith(".") and name not in MADE and not name.endswith(MADE_ENDS)


def weights_and_beside(weights: Path) -> list[Path]:
    """Weights and what there is of their settings and their card."""
    return [weights, *(path for end in BESIDE if (path := weights.with_suffix(end)).is_file())]


def left_out(root: Path, files: dict[str, Path]) -> list[str]:
    """Names in a bundle's folder, and in its ``models``, of which nothing is among ``files``, without hidden ones."""
    taken = {part for name in files for part in (name, name.split("/")[0])}
    places = [root, *([root / MODELS] if (root / MODELS).is_dir() else [])]
    names = [path.relative_to(root).as_posix() for place in places for path in place.iterdir() if path.name[0] != "."]
    return sorted(name for name in names if name not in taken and name != MODELS)


def is_inner_name(name: str) -> bool:
    """Whether a relative name stays within the folder that it is looked up in, on every system."""
    parts = name.split("/")
    return not set(parts) & {"", ".", ".."} and name.isprintable() and not set(name) & FORBIDDEN


def require_outside(root: Path, folder: Path) -> None:
    """A bundle is copied or packed to somewhere else.

    Raises:
        ValueError: ``folder`` is the bundle's or lies in it.
    """
    if folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{folder} lies in the bundle {root} itself, which stays as it is. Name a folder outside it.")
