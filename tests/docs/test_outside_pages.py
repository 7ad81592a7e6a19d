"""Links of the pages, as they are in the repository and as they are in the site."""

from __future__ import annotations

from .extensions import ROOT, extension

outside_pages = extension("outside_pages")
site_map = extension("site_map")
PAGES = site_map.site_pages()


def rewritten(text: str, source: str, page: str) -> str:
    found, missing = outside_pages.rewrite(text, source, page, PAGES)
    assert missing == []
    return found


def test_every_file_of_the_map_exists():
    assert [name for name in PAGES if not (ROOT / name).exists()] == []


def test_every_page_of_the_bundles_and_results_is_in_the_site():
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("bundles/*/docs/README.md", "bundles/*/models/*.md", "benchmarks/**/*.md", "docs/*.md")
        for path in ROOT.glob(pattern)
    }
    assert wanted - set(PAGES) == set()


def test_links_between_pages():
    text = "see [it](../../../docs/training.md#evaluation) and [card](../models/model.md)"
    page = rewritten(text, "bundles/mamba_mis/docs/README.md", "generated/bundles/mamba_mis")
    assert page == "see [it](../../training.md#evaluation) and [card](mamba_mis_model.md)"


def test_links_to_what_is_generated():
    text = "[keys](../bundles/mamba_mis/configs/train.yaml) [script](gallery/plot_01_segment.py) [all](gallery/)"
    assert rewritten(text, "docs/segment.md", "segment") == (
        "[keys](generated/keys/mamba_mis_train.md) [script](generated/gallery/plot_01_segment.rst) "
        "[all](generated/gallery/index.rst)"
    )


def test_other_files_addresses_anchors_and_code_stay():
    text = "[c](../CITATION.cff) [m](https://monai.io) [a](#here)\n```\n[x](../bundles/mamba_mis/docs/README.md)\n```\n"
    assert rewritten(text, "docs/cite.md", "cite") == text


def test_a_link_over_two_lines():
    page = rewritten("[two\nlines](../CONTRIBUTING.md)", "docs/README.md", "index")
    assert page == "[two\nlines](generated/project/contributing.md)"


def test_a_link_to_nothing_is_named():
    _, missing = outside_pages.rewrite("[x](nowhere.md)", "docs/cite.md", "cite", PAGES)
    assert missing == ["nowhere.md"]
