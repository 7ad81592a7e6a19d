"""Where a bundle's results go when nobody names a folder: into the bundle, or beside the user where that cannot be."""

from __future__ import annotations

import os
from pathlib import Path

from .find import INSTALLED

__all__ = ["work_folder"]


def work_folder(bundle_root: str | os.PathLike[str]) -> str:
    """The folder that a bundle's ``eval/`` and ``models/trained/`` lie in, unless the command line names others.

    A bundle that was cloned or copied keeps its results. One that came with the installed package, or whose folder
    cannot be written to, leaves them in the current folder, in one of the bundle's name: nothing is written among
    installed packages, and an update takes no results away.

    Args:
        bundle_root: the bundle's folder.

    Returns:
        ``bundle_root`` itself, or ``<current folder>/<name of the bundle>``; absolute, and not made yet.
    """
    root = Path(os.path.abspath(bundle_root))
    installed = root.is_relative_to(INSTALLED)
    return os.fspath(root if not installed and os.access(root, os.W_OK) else Path.cwd() / root.name)
