"""What every page of an evaluation must be: whole HTML, everything inside, nothing that runs or is fetched."""

from __future__ import annotations

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"br", "img", "link", "meta"}
ADDRESSES = ("src", "href", "action", "data", "poster", "srcset", "background", "formaction", "ping")


class Page(HTMLParser):
    """A page taken apart, with what is wrong with it in ``wrong``."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"not closed: {tag}" for tag in self.open]
        self.wrong += [f"id twice: {name}" for name in set(self.ids) if self.ids.count(name) > 1]
        self.wrong += [f"link to nowhere: {link}" for link in self.links if link not in self.ids]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if len(attributes) < len(attrs):
            self.wrong.append(f"attribute twice: {tag} {attrs}")
        if "id" in attributes:
            self.ids.append(attributes["id"])
        for name, value in attributes.items():
            if name.startswith("on"):
                self.wrong.append(f"runs something: {tag} {name}")
            if name in ADDRESSES and tag == "a":
                self.links.append(value.removeprefix("#")) if value.startswith("#") else self.wrong.append(value)
            elif name in ADDRESSES and not re.match(r"data:image/(png|jpeg);base64,", value):
                self.wrong.append(f"not inside of the page: {tag} {value[:60]}")
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "svg"):
            self.wrong.append(f"has no place here: {tag}")
        if tag == "img" and not attributes.get("alt"):
            self.wrong.append("picture without a text")
        if tag in ("th", "td"):
            self.cells.append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"closed out of order: {tag}")

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and ("td" in self.open or "th" in self.open):
            self.cells[-1] += data

    @property
    def text(self) -> str:
        """What a reader reads, on one line."""
        return " ".join("".join(self.texts).split())

    def pictures(self) -> list[bytes]:
        """The bytes of each picture."""
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        return [base64.b64decode(source.partition(",")[2], validate=True) for source in sources]


def checked(path: Path, name: str = "") -> Page:
    """The page, of which nothing is wrong; addresses that ``name`` holds may stand in its texts."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.wrong == []
    rest = re.sub(r"base64,[^\"]*", "", text).replace(html.escape(name, quote=True) or "\0", "")
    assert re.findall(r"(?i)(?:https?:)?//[\w.-]+\.\w+|url\(|@import", rest) == []
    assert next(attributes["lang"] for tag, attributes in page.tags if tag == "html") == "en"
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    assert sum(tag == "caption" for tag, _ in page.tags) == sum(tag == "table" for tag, _ in page.tags)
    assert len(text) < 5_000_000
    return page
