"""HTML, written so that names of files, classes and columns stay texts, whatever they hold."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..utils.text_files import printable

__all__ = ["Html", "element", "plain", "stack", "table"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_DIRECTION = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # letters that turn others around
_EMPTY = ("br", "img", "link", "meta")  # elements without an end


class Html(str):
    """Text that is HTML already; every other text is escaped."""


def plain(value: Any) -> Html:
    """A value as the page shows it: its letters, on one line, no markup."""
    if isinstance(value, Html):
        return value
    text = _DIRECTION.sub("\ufffd", _CONTROL.sub(" ", printable(str(value))))
    return Html(html.escape(text, quote=True))


def stack(parts: Iterable[Any]) -> Html:
    """Parts one after the other; what is no HTML is escaped."""
    return Html("\n".join(plain(part) for part in parts))


def element(name: str, /, *content: Any, **attributes: Any) -> Html:
    """``<name attribute="...">content</name>``.

    Args:
        name: of the element.
        content: what is no :class:`Html` is escaped.
        attributes: values are escaped, None leaves one out; ``class_`` is ``class``, other ``_`` are ``-``.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    written = [name, *(f'{key}="{plain(value)}"' for key, value in given.items())]
    opened = f"<{' '.join(written)}>"
    return Html(opened if name in _EMPTY else f"{opened}{''.join(plain(part) for part in content)}</{name}>")


def table(caption: str, head: Sequence[Any], rows: Iterable[Sequence[Any]], kind: str | None = None) -> Html:
    """A table whose first column and first row are headers.

    Args:
        caption: what is in it; screen readers say it first.
        head: one cell per column.
        rows: cells, the first of each names the row.
        kind: ``"wide"`` for many columns, in smaller letters; ``"facts"`` for long texts.
    """
    first = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    content = [element("caption", caption), element("thead", first), element("tbody", stack(body))]
    return element("div", element("table", stack(content), class_=kind), class_="scroll")
