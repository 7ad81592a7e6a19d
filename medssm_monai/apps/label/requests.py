"""What a request may ask for: plain values and images that were handed to the server. Who knows the token may ask for
predictions and trainings, not for programs and files of the computer."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["config_text", "is_handed_over", "plain_overrides"]

CONFIG_MARKS = ("$", "@", "%")  # of MONAI's config language: expression, reference, macro
PLAIN_TEXT = re.compile(r"\w[\w .+-]*")
PLAIN_KEY = re.compile(r"[A-Za-z]\w*")
LARGEST = {"image_size": 2048, "in_channels": 16, "network_args": 4096, "accumulation_steps": 1024, "patch_size": 1024}
OF_FILES = ("_dir", "_file", "_path", "_from")


def config_text(text: str) -> bool:
    """Whether MONAI's config parser would run or look up a text instead of taking it as it is."""
    return text.startswith(CONFIG_MARKS)


def _plain(value: Any) -> bool:
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, str):
        return PLAIN_TEXT.fullmatch(value) is not None
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and PLAIN_KEY.fullmatch(k) and _plain(v) for k, v in value.items())
    return isinstance(value, (list, tuple)) and all(map(_plain, value))


def plain_overrides(overrides: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training that came with a request.

    A config of MONAI is a program: a value that starts with ``$`` is run, one with ``_target_`` is called. Only
    settings whose value in ``config`` is plain (numbers, words, lists and mappings of them) can be given, and only
    plain values; none that names a file or folder.

    Raises:
        ValueError: naming what cannot be given, and what can; sizes that fill the memory.
    """
    if not isinstance(overrides, Mapping):
        raise ValueError(f"overrides must be an object of settings and values, got {overrides!r}.")
    free = sorted(key for key, value in config.items() if not key.endswith(OF_FILES) and _plain(value))
    unknown = sorted(str(key) for key in overrides if key not in free)
    if unknown:
        raise ValueError(f"overrides: {', '.join(unknown)} cannot be set by a request; what can: {', '.join(free)}.")
    wrong = sorted(key for key, value in overrides.items() if not _plain(value))
    if wrong:
        raise ValueError(
            f"overrides: {', '.join(wrong)}: only numbers, true, false, null, words, and lists and objects of these."
        )
    large = sorted(key for key, value in overrides.items() if _largest(value) > LARGEST.get(key, float("inf")))
    if large:
        limits = ", ".join(f"{key} up to {LARGEST[key]}" for key in large)
        raise ValueError(f"overrides: more than a request may ask for: {limits}.")
    return dict(overrides)


def _largest(value: Any) -> float:
    """Largest number in a value; 0 where there is none."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return max(map(_largest, value), default=0)
    return abs(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def is_handed_over(image: str, *folders: str | os.PathLike[str]) -> bool:
    """Whether a path is in one of ``folders``, or directly in the folder for temporary files, where an upload lies.

    Links in the folders may lead anywhere: whoever made them meant them to be read.
    """
    path = Path(os.path.abspath(image))
    upload = path.parent == Path(os.path.abspath(tempfile.gettempdir()))
    return upload or any(path.is_relative_to(os.path.abspath(folder)) for folder in folders)
