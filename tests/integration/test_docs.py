"""The documentation site: it builds without a warning and without network, links lead somewhere, scripts run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
MISSING = [
    name
    for name in ("sphinx", "myst_parser", "pydata_sphinx_theme", "sphinx_gallery")
    if importlib.util.find_spec(name) is None
]
SCRIPTS = sorted((ROOT / "docs" / "gallery").glob("plot_*.py"))
NOWHERE = "http://127.0.0.1:9"  # whoever asks for something from outside fails

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(MISSING), reason=f"the extra docs is not installed: {', '.join(MISSING)} missing"),
]


@dataclass
class Page(HTMLParser):
    """What a page of the site holds and asks for."""

    names: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and not {"next", "prev", "search", "index", "canonical"} & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "img":
            self.images.append(given.get("src", ""))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, str]:
    """Folder of the site and what the build printed; every script of the gallery has run anew."""
    shutil.rmtree(ROOT / "docs" / "generated", ignore_errors=True)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-b", "html", "-d", str(out / "trees")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(out / "html")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return out / "html", done.stdout


@pytest.fixture(scope="module")
def pages(built) -> dict[Path, Page]:
    found = {}
    for path in built[0].rglob("*.html"):
        if "_static" in path.relative_to(built[0]).parts:  # templates of the theme
            continue
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        found[path] = page
    assert len(found) > 60
    return found


def test_the_build_has_no_warning(built):
    assert "build succeeded" in built[1]
    assert re.findall(r"^.*(?:\.md|\.rst|\.py):\d*:? ?(?:WARNING|ERROR).*$", built[1], re.MULTILINE) == []


def inside(pages: dict[Path, Page]) -> Iterator[tuple[Path, str, Path, str]]:
    """Page, link, file and anchor of every link that stays in the site."""
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            yield path, link, target / "index.html" if target.is_dir() else target, unquote(parts.fragment)


def test_every_link_inside_leads_to_a_file_and_an_anchor(built, pages):
    broken, count = [], 0
    for path, link, target, anchor in inside(pages):
        count += 1
        known = pages[target].names if target in pages else set()
        if not target.is_file() or anchor and target.suffix == ".html" and anchor not in known:
            broken.append(f"{path.relative_to(built[0])}: {link}")
    assert count > 5000
    assert sorted(set(broken)) == []


def test_nothing_is_loaded_from_elsewhere(built, pages):
    outside = {
        link for page in pages.values() for link in page.loaded if urlsplit(link).scheme or link.startswith("//")
    }
    assert {link for link in outside if not link.startswith("data:")} == set()
    sheets = list(built[0].rglob("*.css"))
    assert len(sheets) > 3
    loads = re.compile(r"(?:@import\s+(?:url\()?|url\()[\"']?((?:https?:)?//[^\"')]+)")
    assert [
        (sheet.name, loads.findall(sheet.read_text(encoding="utf-8")))
        for sheet in sheets
        if loads.search(sheet.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_of_the_gallery_shows_a_picture(script, built, pages):
    page = pages[built[0] / "generated" / "gallery" / f"{script.stem}.html"]
    pictures = sorted({Path(src).name for src in page.images if Path(src).name.startswith(f"sphx_glr_{script.stem}_")})
    assert pictures
    for name in pictures:
        with Image.open(built[0] / "_images" / name) as picture:
            assert picture.width > 200 and np.asarray(picture.convert("L")).std() > 1.0


def test_no_page_names_a_folder_of_this_machine(built):
    places = {str(ROOT), str(Path.home()), tempfile.gettempdir() + os.sep}
    named = {
        (path.name, place)
        for path in built[0].rglob("*.html")
        for place in places
        if place in path.read_text(encoding="utf-8")
    }
    assert named == set()


def test_the_page_of_a_room_has_its_public_names(pages, built):
    from medssm_monai.networks import blocks

    page = pages[built[0] / "generated" / "api" / "networks_blocks.html"]
    assert [name for name in blocks.__all__ if f"medssm_monai.networks.blocks.{name}" not in page.names] == []
