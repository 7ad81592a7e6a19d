"""The block that a command ends with: what came out, where it lies, and what one would do next."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..utils.files import shown_path

__all__ = ["closing_block"]

Place = str | os.PathLike | None


def closing_block(
    headline: str, places: Mapping[str, Place | Sequence[Place]], commands: Mapping[str, str] | None = None
) -> str:
    """Lines for the console.

    Args:
        headline: what was done, with the key figure.
        places: what -> file or folder, or several; those that do not exist are left out.
        commands: what for -> a command as one types it; empty ones are left out.

    Example:
        >>> print(closing_block("Evaluated: accuracy 0.9", {}, {"next": "python -m this"}))
        Evaluated: accuracy 0.9
          next      python -m this
    """
    lines = [headline]
    for what, entry in places.items():
        several = [entry] if entry is None or isinstance(entry, (str, os.PathLike)) else list(entry)
        there = [shown_path(place) for place in several if place is not None and Path(place).exists()]
        lines += [_line(what if number == 0 else "", place) for number, place in enumerate(there)]
    lines += [_line(what, command) for what, command in (commands or {}).items() if command]
    return "\n".join(lines)


def _line(what: str, text: str) -> str:
    return f"  {what:<9} {text}"
