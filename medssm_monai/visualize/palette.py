"""Colors of curves that color-blind readers tell apart, each with a line style for prints in gray."""

from __future__ import annotations

from typing import Any

__all__ = ["curve_style"]

# Okabe and Ito, "Color Universal Design" (2008), without yellow, which is too faint on white; darkest contrasts first.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", "-.", ":")


def curve_style(number: int) -> dict[str, Any]:
    """Color and line style of the curve ``number`` (0, 1, ...) of a picture, as arguments of matplotlib's ``plot``.

    Seven colors; neighbors differ in both, and 28 curves have all different combinations.
    """
    return {
        "color": _COLORS[number % len(_COLORS)],
        "linestyle": _DASHES[(number % len(_COLORS) + number // len(_COLORS)) % len(_DASHES)],
    }
