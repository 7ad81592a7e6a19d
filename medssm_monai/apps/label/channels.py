"""Channels of one image in files of their own, told by the ends of their names as in nnU-Net: ``_0000``, ``_0001``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .formats import image_kind, split_name

__all__ = ["channel_files", "channel_name", "channel_number", "channel_stem"]

NUMBERED = re.compile(r"(.+)_(\d{4})")


def channel_number(image_id: str) -> int | None:
    """Number of the channel that an image's id ends in; None for other ids."""
    found = NUMBERED.fullmatch(image_id)
    return int(found[2]) if found else None


def channel_name(image_id: str, number: int) -> str:
    """Id of another channel of the same image."""
    return f"{channel_stem(image_id)}_{number:04d}"


def channel_stem(image_id: str) -> str:
    """Id without the number of the channel: the name of the case."""
    found = NUMBERED.fullmatch(image_id)
    return found[1] if found else image_id


def channel_files(first: Path, channels: Sequence[str]) -> list[Path]:
    """Files of all channels, which lie beside the first.

    Args:
        first: file of the first channel.
        channels: their names.

    Returns:
        The files in order; none where the name of ``first`` does not end in a number: it holds all channels itself.

    Raises:
        FileNotFoundError: files that are not there.
        ValueError: the file of another channel.
    """
    stem, _ = split_name(first.name)
    number = channel_number(stem)
    if number is None:
        return []
    if number != 0:
        raise ValueError(f"{first.name} is channel {number} of an image; ask for the first, {channel_name(stem, 0)}.")
    wanted = {channel_name(stem, place): name for place, name in enumerate(channels)}
    found: dict[str, Path] = {}
    for file in sorted(first.parent.iterdir()):
        if image_kind(file):
            found.setdefault(split_name(file.name)[0], file)
    found[stem] = first
    missing = [f"{name} ({wanted[name]})" for name in wanted if name not in found]
    if missing:
        raise FileNotFoundError(f"beside {first.name} there is no {', no '.join(missing)}.")
    return [found[name] for name in wanted]
