"""Texts of the page, as HTML: facts about a result, warnings, legends, what went wrong. All values are escaped."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...data.errors import DatalistError
from ...data.fingerprint import NOT_RECORDED
from ...utils.errors import root_cause
from ...utils.shown_names import shown_text

__all__ = [
    "bars",
    "color_legend",
    "facts",
    "likeness",
    "mask_legend",
    "note",
    "origin",
    "plain",
    "problem",
    "promise",
    "without_folders",
]

logger = logging.getLogger(__name__)
VIRIDIS = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
EXPECTED = (OSError, ValueError, DatalistError)
"""Kinds of errors whose messages say what is wrong with a file, and what to do."""


def without_folders(text: str) -> str:
    """A text in which files are called by their names alone."""
    place = re.escape(tempfile.gettempdir())
    return shown_text(re.sub(rf"{place}[/\\](?:[^/\\\s'\"]+[/\\])*", "", text))


def plain(error: BaseException) -> str:
    """What an error says, for the page; errors that no message was written for go to the log with their traceback."""
    cause = root_cause(error)
    if isinstance(cause, MemoryError):
        return "The memory of this computer does not suffice for this image; make it smaller, or cut it into parts."
    text = without_folders(str(cause)).strip()
    if isinstance(cause, EXPECTED) and text:
        logger.warning("refused: %s", text)
        return text
    logger.error("unexpected error", exc_info=cause)
    return (
        f"This did not work, and no message foresees why ({type(cause).__name__}: {text}). The server's log has more."
    )


def problem(error: BaseException) -> str:
    """The box that says what went wrong."""
    return f'<div class="medssm-box medssm-problem" role="alert"><b>Not possible.</b> {_lines(plain(error))}</div>'


def note(text: str) -> str:
    """A box with something to know."""
    return f'<div class="medssm-box medssm-note">{_lines(text)}</div>'


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def facts(rows: Mapping[str, Any]) -> str:
    """A table of two columns."""
    cells = "".join(f"<tr><th>{escape(str(key))}</th><td>{_lines(str(value))}</td></tr>" for key, value in rows.items())
    return f'<table class="medssm-facts">{cells}</table>'


def likeness(prediction: Any) -> str:
    """A box: in which respects the image is unlike those that the weights were trained with."""
    if prediction.trained_for == NOT_RECORDED:
        return note(
            "What these weights were trained for is not recorded: whether this image is like their training images "
            "cannot be told."
        )
    if not prediction.unlike_training:
        return note("This image is like the training images in what is compared: size, color, intensities.")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in prediction.unlike_training)
    return (
        '<div class="medssm-box medssm-warning" role="alert"><b>This image is unlike those that the weights were '
        f"trained with.</b> The result may be wrong however sure it looks.<ul>{reasons}</ul></div>"
    )


def promise(prediction: Any) -> str:
    """A box: what a calibration that is stored with the weights says of the image; nothing without one."""
    found = prediction.calibrated
    if found is None:
        return ""
    if found.get("prediction_set") == []:  # nothing that a reader should pass over
        return f'<div class="medssm-box medssm-warning" role="alert">{_lines(found["meaning"])}</div>'
    return note(found["meaning"])


def origin(prediction: Any) -> dict[str, str]:
    """Rows of a table: which weights, and what they were trained for."""
    return {"Trained for": prediction.trained_for, "Weights": without_folders(prediction.weights)}


def bars(probabilities: Mapping[str, float]) -> str:
    """Bars of probabilities, in the order given, the largest one marked."""
    most = max(probabilities.values())
    rows = "".join(
        f'<div class="medssm-bar{" medssm-most" if value == most else ""}"><span class="medssm-name">{escape(name)}'
        f'</span><span class="medssm-track"><span class="medssm-fill" style="width:{100 * value:.2f}%"></span></span>'
        f'<span class="medssm-value">{100 * value:.2f} %</span></div>'
        for name, value in probabilities.items()
    )
    return f'<div class="medssm-bars">{rows}</div>'


def mask_legend(name: str, color: Sequence[int]) -> str:
    """What the color of a mask means."""
    css = f"rgb({', '.join(map(str, color))})"
    return (
        f'<div class="medssm-legend"><span class="medssm-swatch" style="background:{css}"></span>{escape(name)}</div>'
    )


def color_legend(low: str, high: str, what: str) -> str:
    """What the colors of a map mean."""
    return (
        f'<div class="medssm-legend"><span>{escape(low)}</span><span class="medssm-ramp" style="background:'
        f'linear-gradient(to right, {", ".join(VIRIDIS)})"></span><span>{escape(high)}</span>'
        f"<span>{escape(what)}</span></div>"
    )
