"""Pages of the bundles, benchmarks and the repository's root in the site, and links that lead there.

The Markdown files are written to be read in the repository: their links name files. When the site is built, each page
outside of ``docs/`` is copied to ``docs/generated/`` as it is, and while Sphinx reads a page, every link to a file that
has a page of its own (``site_map.py``) is turned into a link to that page. A link to any other file of the repository
becomes a download of it, and one that leads nowhere is a warning.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from site_map import DOCS, GENERATED, ROOT, outside_pages, site_pages, write_if_changed

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FENCE = re.compile(r"(^ *```.*?^ *```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]*)(#[^)\s]*)?(\))")
SCHEME = re.compile(r"^[a-z]+:")


def copy_pages(app: Sphinx, config: Any) -> None:
    for source, page in outside_pages().items():
        write_if_changed(DOCS / f"{page}.md", (ROOT / source).read_text(encoding="utf-8"))


def suffix_of(page: str) -> str:
    """Scripts of the gallery and rooms of the package have pages in reStructuredText."""
    return ".rst" if page.startswith((f"{GENERATED}/gallery/", f"{GENERATED}/api/")) else ".md"


def rewrite(text: str, source: str, page: str, pages: dict[str, str]) -> tuple[str, list[str]]:
    """Links of a page, as they have to be in the site.

    Args:
        text: Markdown of the page.
        source: its file, from the root of the repository.
        page: its name in the site.
        pages: name in the site by file or folder, from the root.

    Returns:
        The text, and the targets that are neither a page nor a file.
    """
    missing: list[str] = []
    folder, here = PurePosixPath(source).parent, PurePosixPath("docs", page).parent

    def changed(match: re.Match[str]) -> str:
        begin, target, anchor, end = match.group(1), match.group(2), match.group(3) or "", match.group(4)
        if not target or SCHEME.match(target):
            return match.group(0)
        path = os.path.normpath(folder / target).replace(os.sep, "/")
        if path in pages:
            return f"{begin}{os.path.relpath(f'docs/{pages[path]}', here)}{suffix_of(pages[path])}{anchor}{end}"
        if not (ROOT / path).is_file():
            missing.append(target)
        return f"{begin}{os.path.relpath(path, here)}{anchor}{end}"

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts), missing


def rewrite_links(app: Sphinx, page: str, content: list[str]) -> None:
    from sphinx.util import logging

    sources = {name: path for path, name in outside_pages().items()}
    source = sources.get(page) or (f"docs/{page}.md" if (DOCS / f"{page}.md").is_file() else None)
    if source is None or source.startswith("docs/generated/"):
        return
    content[0], missing = rewrite(content[0], source, page, site_pages())
    for target in missing:
        logging.getLogger(__name__).warning("link to %r: no such page or file in the repository", target, location=page)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", copy_pages)
    app.connect("source-read", rewrite_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
