"""The pages of real evaluations in a headless browser: nothing is asked for elsewhere, and they print.

The images are generated, the weights those that come with the bundles; no figure here says anything about accuracy.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from medssm_monai.data.demo.classification import class_demo_sample

from ..bundles.bundle_runs import CLINICAL_FMAMBA, MAMBA_MIS, MEDSPECTRALNET
from ..reports.page_checks import checked
from .viewer_server import BROWSER_OPTIONS, browser_program

pytestmark = pytest.mark.integration

KINDS = {  # name -> bundle, options, and fewest and most pages on A4
    "segmentation": (MAMBA_MIS, {}, (3, 6)),
    "classification": (MEDSPECTRALNET, {}, (3, 8)),
    "fusion": (CLINICAL_FMAMBA, {"report_metrics": ["ssim_mean", "entropy"]}, (2, 5)),
}


@pytest.fixture(scope="module")
def browser():
    program = browser_program()
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=list(BROWSER_OPTIONS))
        yield opened
        opened.close()


def two_classes(folder: Path) -> Path:
    """Generated gray images in folders called like the classes of the weights."""
    for number in range(24):
        place = folder / ("malignant", "normal, benign")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(class_demo_sample("test", number)[0]).convert("L").save(place)
    return folder


@pytest.fixture(scope="module", params=sorted(KINDS))
def page_file(request, tmp_path_factory) -> tuple[str, Path]:
    bundle, options, _ = KINDS[request.param]
    out = tmp_path_factory.mktemp(request.param)
    weights = {"ckpt_path": str(bundle.folder / "models" / "model.pt"), "device": "cpu"}
    counts = {"datalists#demo_counts": [4, 4, 6]}
    names, data = ("train.yaml", "evaluate.yaml"), counts
    if bundle is MEDSPECTRALNET:  # explained too; the weights know two classes
        names += ("explain.yaml",)
        data = {"dataset_dir": str(two_classes(out / "data")), "part": "training", "explain_images": 2}
    bundle.run(names, out, **weights, **data, **options, run_name="run")
    return request.param, out / "run" / "report.html"


def test_a_page_opens_alone_and_prints(browser, page_file, tmp_path):
    kind, path = page_file
    checked(path)
    alone = tmp_path / "report.html"
    alone.write_bytes(path.read_bytes())  # without the folder that it came from
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(alone.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:image/")] == [alone.as_uri()]
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert sizes and all(size > 0 for size in sizes)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()
    assert page.locator("#uncertainty").count() == (kind != "fusion")  # the shipped weights are calibrated
    page.screenshot(path=tmp_path / f"{kind}.png", full_page=True)
    printed = page.pdf(prefer_css_page_size=True)
    fewest, most = KINDS[kind][2]
    assert fewest <= len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= most
    boxes = {tuple(map(float, found.split())) for found in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", printed)}
    assert all(abs(box[2] - 595) < 2 and abs(box[3] - 842) < 2 for box in boxes)
    page.close()
