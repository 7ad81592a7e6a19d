"""A bundle's own copy, to change and to train."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from pathlib import Path

from ..utils.files import writable_folder
from .contents import bundle_files, left_out, require_outside
from .find import find_bundle

__all__ = ["copy_bundle"]

logger = logging.getLogger(__name__)
REMEDY = "Make it writable, or name another folder."


def copy_bundle(bundle: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Copy what belongs to a bundle into a folder, under the bundle's name; whole or not at all.

    What belongs to it says :func:`~.contents.bundle_files`: configs, pages and the weights that come with it, nothing
    of its runs. The copy's configs take it for their ``bundle_root``, and its trainings publish to its own ``models/``.

    Args:
        bundle: a folder or a name, as :func:`~medssm_monai.bundle.find_bundle` takes it.
        folder: where the copy goes, ``folder/NAME``; created where it is missing.

    Returns:
        The copy's folder.

    Raises:
        FileNotFoundError: no such bundle.
        FileExistsError: there is something of that name already.
        ValueError: ``folder`` lies in the bundle.
        PermissionError: ``folder`` cannot be written to.
    """
    root, place = Path(os.path.abspath(find_bundle(bundle))), Path(folder).expanduser()
    target = place / root.name
    if os.path.lexists(target):
        raise FileExistsError(f"{target} is there already and stays as it is. Name another folder, or move it away.")
    require_outside(root, place)
    writable_folder(place, remedy=REMEDY)
    files = bundle_files(root)
    fresh = place / f".{target.name}.new-{uuid.uuid4().hex}"
    try:
        for name, source in files.items():
            copy = fresh / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    others = left_out(root, files)
    if others:
        logger.info("left out, as no part of the bundle: %s", ", ".join(others))
    return target
