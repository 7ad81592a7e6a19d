"""The settings a checkpoint was trained with, kept beside it, so that inference cannot use others by mistake."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .whole_file import replace_file

__all__ = ["read_model_settings", "update_model_settings", "write_model_settings"]

logger = logging.getLogger(__name__)


def _beside(ckpt_path: str | os.PathLike) -> Path:
    return Path(ckpt_path).with_suffix(".json")


def write_model_settings(ckpt_path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """Write ``<checkpoint stem>.json`` beside a checkpoint (which need not exist yet), in one step."""
    text = json.dumps(dict(settings), indent=2) + "\n"
    with replace_file(_beside(ckpt_path)) as temporary:
        temporary.write_text(text, encoding="utf8")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}). Restore it, or remove it and pass the settings.") from error


def update_model_settings(ckpt_path: str | os.PathLike, **changes: Any) -> None:
    """Change single settings of a checkpoint, for example ``temperature=1.3``; the others stay.

    Raises:
        ValueError: when the file is no JSON object.
    """
    path = _beside(ckpt_path)
    settings = _read(path) if path.is_file() else {}
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must be an object, got {settings}.")
    write_model_settings(ckpt_path, {**settings, **changes})


def read_model_settings(ckpt_path: str | os.PathLike, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a checkpoint: those beside it, over ``defaults``.

    Without a settings file the defaults are used, with a warning when the checkpoint exists.

    Raises:
        ValueError: when the file is no JSON object or holds a key that ``defaults`` lacks.
    """
    path = _beside(ckpt_path)
    if not path.is_file():
        if Path(ckpt_path).is_file():
            logger.warning("%s has no settings file %s; using %s", ckpt_path, path.name, dict(defaults))
        return dict(defaults)
    settings = _read(path)
    if not isinstance(settings, dict) or set(settings) - set(defaults):
        raise ValueError(f"{path} must be an object with keys among {sorted(defaults)}, got {settings}.")
    return {**defaults, **settings}
