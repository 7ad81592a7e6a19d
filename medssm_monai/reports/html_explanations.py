"""The part of a page that shows where a network looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .html_images import file_source, patient_picture
from .html_markup import element, stack
from .html_page import Section

__all__ = ["ExplainedLayer", "explanation_section"]


class ExplainedLayer(NamedTuple):
    """A layer: its name, what is said of it, and its sheets, (class, file) each."""

    name: str
    said: str
    sheets: Sequence[tuple[str, Path]]


def explanation_section(said: str, layers: Sequence[ExplainedLayer]) -> Section:
    """The section "Explanations".

    Args:
        said: what all sheets show.
        layers: in the order of the page.
    """
    parts = [element("p", said)]
    for layer in layers:
        parts += [element("h3", layer.name), element("p", layer.said)]
        for name, file in layer.sheets:
            caption = f"{layer.name}, images of class {name}"
            parts.append(patient_picture(file_source(file), f"Contact sheet of heat maps; {caption}", caption))
    return Section("explanations", "Explanations", stack(parts))
