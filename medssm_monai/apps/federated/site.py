"""What a site of a federation lets a job do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from ...utils.files import replace_file, writable_folder
from .flare_configs import BEYOND_DEFAULT

__all__ = ["prepare_site"]

RESOURCES, DEFAULT = "resources.json", "resources.json.default"
ALLOWED, STREAMING = "class_allow_list", "allow_log_streaming"
ANY = "*"


def prepare_site(local: str | os.PathLike[str]) -> Path:
    """Let jobs of this package run here, and keep the log of errors here: two entries of FLARE's ``resources.json``.

    FLARE builds no component of a job whose class is not in the site's ``class_allow_list``; the three of
    ``monai-nvflare`` and MONAI (:data:`~.flare_configs.BEYOND_DEFAULT`) are added to it. With ``allow_log_streaming``
    sites send their ``error_log.txt`` to the server, in which names of files can stand; it becomes false. Everything
    else stays as it is.

    Args:
        local: the folder ``local`` of a site or of the server, or of a simulator's workspace, where it is created.

    Returns:
        The file.

    Raises:
        ValueError: the file that is there is no JSON object, or its list is no list.
        ImportError: no list is there yet, and FLARE, which has the default one, is not installed.
    """
    folder = Path(local)
    writable_folder(folder, remedy="Name the folder local of a site that FLARE can write to.")
    there = next((path for name in (RESOURCES, DEFAULT) if (path := folder / name).is_file()), None)
    content = {"format_version": 2} if there is None else _read(there)
    allowed = content.get(ALLOWED, None)
    if allowed is None:
        allowed = _default_list()
    if not isinstance(allowed, list):
        raise ValueError(f"{there}: {ALLOWED} is no list. Restore the file from the site's startup kit.")
    more = [] if ANY in allowed else [name for name in BEYOND_DEFAULT if name not in allowed]
    target = folder / RESOURCES
    with replace_file(target) as temporary:
        text = json.dumps({**content, ALLOWED: [*allowed, *more], STREAMING: False}, indent=2)
        temporary.write_text(text + "\n", encoding="utf8")
    return target


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object. Restore it from the site's startup kit.")
    return content


def _default_list() -> list[str]:
    names, found = optional_import("nvflare.app_common.default_component_policy", name="DEFAULT_CLASS_ALLOW_LIST")
    if not found:
        raise ImportError(
            "NVIDIA FLARE is not installed here. Run this with the Python of its environment "
            "(python scripts/federated_environment.py makes it)."
        )
    return list(names)
