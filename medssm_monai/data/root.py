"""The folder a run starts from: an existing one or the word that asks for the demo set, and how a data set is
called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from monai.config import PathLike

from ..utils.command_line import typed_option
from ..utils.shown_names import remember_data
from .demo.segmentation import DEMO

__all__ = ["STRUCTURES", "dataset_name", "existing_folder", "existing_path", "is_demo", "structures_demo"]

STRUCTURES = "demo_structures"
"""The word for the embedded demo set of several classes."""


def is_demo(dataset_dir: PathLike, words: Sequence[str] = (DEMO, STRUCTURES)) -> bool:
    """True when ``dataset_dir`` asks for an embedded demo set (the words ``"demo"`` and ``"demo_structures"``, or
    those of ``words`` that a task has)."""
    return str(typed_option(dataset_dir, "dataset_dir")) in words


def structures_demo(dataset_dir: PathLike, spatial_dims: int = 2) -> bool:
    """True when the demo set asked for is that of several classes, for segmentation: by its word, and for volumes."""
    return is_demo(dataset_dir) and (spatial_dims == 3 or str(typed_option(dataset_dir, "dataset_dir")) == STRUCTURES)


def existing_path(dataset_dir: PathLike) -> Path:
    """Absolute path of an existing file or folder.

    Raises:
        FileNotFoundError: empty, or no such path.
    """
    dataset_dir = str(typed_option(dataset_dir, "dataset_dir"))
    if not dataset_dir.strip():
        raise FileNotFoundError(f"dataset_dir is empty; name a folder, or {DEMO!r} for the embedded demo set.")
    root = Path(dataset_dir).expanduser()
    if not root.exists():
        raise FileNotFoundError(
            f"dataset_dir {root} does not exist (working folder {Path.cwd()}); correct the path, or use {DEMO!r} for "
            "the embedded demo set."
        )
    remember_data(root)
    return Path(os.path.abspath(root))


def existing_folder(dataset_dir: PathLike, holding: str = "images and masks") -> Path:
    """Absolute path of an existing folder; ``holding`` says in the error what should lie in it.

    Raises:
        FileNotFoundError: empty, or no such path.
        NotADirectoryError: a file.
    """
    root = existing_path(dataset_dir)
    if not root.is_dir():
        raise NotADirectoryError(f"dataset_dir {root} is a file; name the folder that holds the {holding}.")
    return root


def dataset_name(dataset_dir: PathLike) -> str:
    """``"demo"`` for an embedded synthetic demo set, else the name of the folder or file.

    A folder that is itself called ``demo`` is named ``demo_folder``, so that it is never taken for the demo set.
    """
    if is_demo(dataset_dir):
        return DEMO
    name = Path(str(typed_option(dataset_dir, "dataset_dir"))).expanduser().resolve().name or "root"
    name = name.encode("utf-8", "replace").decode("utf-8")  # trackers and pages store UTF-8
    return "demo_folder" if name == DEMO else name
