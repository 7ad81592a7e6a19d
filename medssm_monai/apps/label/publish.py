"""New weights for a bundle that is being served."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

__all__ = ["publish"]


def publish(trained: Path, target: Path) -> None:
    """Move ``model.pt`` and the settings beside it, ``model.json``, from one folder to another.

    Earlier ones are kept there as ``model_<time of the weights' last change>.pt`` and ``.json``. Both new files are
    brought beside their places first, which may take time from another disk; then all that happens are renames, in an
    order in which weights never lie without their settings.

    Raises:
        RuntimeError: one of the two is missing; nothing has changed then.
    """
    missing = [name for name in ("model.pt", "model.json") if not (trained / name).is_file()]
    if missing:
        raise RuntimeError(f"the training left no {' and no '.join(missing)} in {trained}.")
    target.mkdir(parents=True, exist_ok=True)
    parts = {end: target / f".model.{os.getpid()}.{end}.part" for end in ("json", "pt")}
    try:
        for end, part in parts.items():
            shutil.move(trained / f"model.{end}", part)
        kept = _free_stem(target)
        for end in ("pt", "json"):
            if (target / f"model.{end}").is_file():
                os.replace(target / f"model.{end}", target / f"{kept}.{end}")
        for end, part in parts.items():
            os.replace(part, target / f"model.{end}")
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _free_stem(folder: Path) -> str:
    """Name of the earlier weights and of their settings, which must be equal, in a folder."""
    weights = folder / "model.pt"
    changed = weights.stat().st_mtime if weights.is_file() else time.time()
    stem = f"model_{time.strftime('%Y%m%d-%H%M%S', time.localtime(changed))}"
    names = [stem, *(f"{stem}_{count}" for count in range(2, 1000))]
    return next(name for name in names if not any((folder / f"{name}.{end}").exists() for end in ("pt", "json")))
