"""New weights for a bundle that is being served."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...utils import keep_previous

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
        keep_previous(target / "model.pt", target / "model.json")
        for end, part in parts.items():
            os.replace(part, target / f"model.{end}")
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
