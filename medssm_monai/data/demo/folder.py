"""A computed data set on disk: written on first use, whole or not at all, used again when complete."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai.config import PathLike

from ...utils.shown_names import remember_data
from ...utils.user_cache import user_cache

__all__ = ["generated_folder"]

logger = logging.getLogger(__name__)
MANIFEST = "manifest.json"
README = "Synthetic demo images of medssm-monai, computed, not photographed. For trying the software only.\n"


def _default_folder() -> Path:
    cache = user_cache()
    if cache is None:
        raise OSError("the demo set cannot be written: no folder of your own; name a writable folder as demo_dir.")
    return cache


def _complete(folder: Path) -> bool:
    """True when every file of the manifest lies there in its full length."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == length for name, length in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # nothing there, or half-written
        return False


def _write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({**facts, "files": files}, indent=1) + "\n", encoding="utf-8")


def _swap_in(fresh: Path, folder: Path) -> None:
    """Put a complete set in place of a missing or broken one; another process may have been faster."""
    for _ in range(3):
        if _complete(folder):
            shutil.rmtree(fresh, ignore_errors=True)
            return
        if folder.exists():  # broken: move it aside first, a rename onto a full folder fails
            aside = folder.with_name(f".{folder.name}.old-{uuid.uuid4().hex}")
            try:
                folder.rename(aside)
            except FileNotFoundError:
                continue
            shutil.rmtree(aside, ignore_errors=True)
        try:
            fresh.rename(folder)
            return
        except OSError as error:
            logger.debug("%s appeared meanwhile: %s", folder, error)
    raise OSError(f"the demo set cannot be put in place at {folder}; remove that folder and start again.")


def generated_folder(
    parent: PathLike | None, name: str, write: Callable[[Path], None], facts: Mapping[str, Any]
) -> Path:
    """Folder ``name`` with what ``write`` puts into it and a README.txt, made on first use.

    A complete one (by its manifest of file lengths) is used again; a damaged one is replaced. It is built beside its
    place and then renamed, so a killed process leaves nothing half-made and two processes may start at once.

    Args:
        parent: where the folder lies; None is ``medssm_monai`` in the user's cache folder.
        name: folder name; it should carry everything that the content depends on.
        write: fills the empty folder it is given.
        facts: entries of the manifest.

    Raises:
        OSError: ``parent`` cannot be written.
    """
    root = Path(parent).expanduser() if parent is not None else _default_folder()
    folder = root / name
    if _complete(folder):
        remember_data(folder)
        logger.info("demo set (synthetic): %s", folder)
        return folder
    fresh = root / f".{name}.new-{uuid.uuid4().hex}"
    try:
        fresh.mkdir(parents=True)
        write(fresh)
        (fresh / "README.txt").write_text(README, encoding="utf-8")
        _write_manifest(fresh, facts)
        _swap_in(fresh, folder)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise OSError(
            f"the demo set cannot be written to {root} ({error}); free space or name a writable folder as demo_dir."
        ) from error
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    remember_data(folder)
    logger.info("demo set (synthetic): written to %s", folder)
    return folder
