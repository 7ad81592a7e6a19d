"""Which group a name belongs to, by an expression."""

from __future__ import annotations

import re

__all__ = ["group_in"]


def group_in(name: str, pattern: str) -> str | None:
    r"""The first bracket (or the whole match) of a regular expression in a name; None where it fits no part of it.

    Example:
        >>> group_in("p07_slice_3.png", r"p(\d+)"), group_in("p07_slice_3.png", r"p\d+"), group_in("x.png", r"p\d")
        ('07', 'p07', None)
    """
    match = re.search(pattern, name)
    return None if match is None else match[1 if match.re.groups else 0]
