"""The viewer in its real server, looked at in a headless browser, with the weights that come with the bundles.

The images are generated; no figure here says anything about accuracy.
"""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.data.demo.classification import class_demo_sample
from medssm_monai.data.demo.fusion import fusion_demo_sample
from medssm_monai.data.demo.segmentation import demo_sample

from .viewer_server import BROWSER_OPTIONS, WAIT, ViewerServer, Visitor, browser_program, viewer_python

pytestmark = pytest.mark.integration

AFFINE = np.array([[-1.5, 0, 0, 40], [0, 1.2, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])
LARGE = 4000
EXPECTED = """
import json, sys
from pathlib import Path
import medssm_monai
images, out = map(Path, sys.argv[1:])
skin = medssm_monai.load("mamba_mis", device="cpu")
facts = {}
for name in ("first", "second", "large"):
    prediction = skin.predict(images / f"{name}.png")
    prediction.save(out / f"{name}_mask.png")
    prediction.save(out / f"{name}_probability.png", probability=True)
    facts[name] = [int(prediction.mask.sum()), prediction.confidence]
chest = medssm_monai.load("medconvmamba", device="cpu")
prediction = chest.predict(images / "chest.png")
prediction.save(out / "chest_prediction.csv")
chest.explain(images / "chest.png").save(out / "chest_explained.png")
facts["chest"] = prediction.by_class()
fusion = medssm_monai.load("clinical_fmamba", device="cpu")
fusion.predict((images / "pair_a.png", images / "pair_b.png")).save(out / "pair_a_fused.png")
volumes = medssm_monai.load("clinical_fmamba", ckpt_path=fusion.root / "models" / "volume.pt", device="cpu")
volumes.predict((images / "head_a.nii.gz", images / "head_b.nii.gz")).save(out / "head_a_fused.nii.gz")
(out / "facts.json").write_text(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def browser():
    program = browser_program()
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=list(BROWSER_OPTIONS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Generated images, good and bad ones."""
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(("first", "second")):
        Image.fromarray(demo_sample("test", number)[0]).save(folder / f"{name}.png")
    Image.open(folder / "first.png").resize((LARGE, LARGE)).save(folder / "large.png")
    Image.fromarray(class_demo_sample("test", 0)[0]).convert("L").save(folder / "chest.png")
    for name, values in zip("ab", fusion_demo_sample("test", 0, 96), strict=True):
        Image.fromarray(values).save(folder / f"pair_{name}.png")
    for name, values in zip("ab", fusion_demo_sample("test", 0, 48, 3), strict=True):
        nib.save(nib.Nifti1Image(values[:, :, 14:34].astype(np.float32), AFFINE), folder / f"head_{name}.nii.gz")
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.png").write_bytes(b"")
    content = (folder / "first.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    nib.save(nib.Nifti1Image(np.full((9, 8, 7), np.nan, np.float32), AFFINE), folder / "nan.nii.gz")
    return folder


@pytest.fixture(scope="module")
def expected(browser, images, tmp_path_factory) -> Path:
    """What Python predicts for the images and saves, in the viewer's own environment."""
    folder = tmp_path_factory.mktemp("expected")
    command = [str(viewer_python()), "-c", EXPECTED, str(images), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    with ViewerServer(viewer_python(), tmp_path_factory.mktemp("viewer") / "server.log", "--device", "cpu") as running:
        yield running
        assert "Traceback" not in running.text()
        assert running.connections() == set()
    assert list(running.temporary.iterdir()) == []  # the server has ended, and what was dropped on it with it


@pytest.fixture(scope="module")
def asked_past_the_page(browser, tmp_path_factory):
    """Another server, whose log is full of what nobody asks from the page."""
    log = tmp_path_factory.mktemp("hostile") / "server.log"
    with ViewerServer(viewer_python(), log, "mamba_mis", "--device", "cpu") as running:
        yield running
        assert running.connections() == set()


@pytest.fixture
def visitor(browser, server):
    one = Visitor(browser, server.url)
    yield one
    assert one.requested and one.foreign() == []
    one.close()


def facts(expected: Path) -> dict:
    return json.loads((expected / "facts.json").read_text())


def same_pixels(first: Path, second: Path) -> None:
    np.testing.assert_array_equal(np.array(Image.open(first)), np.array(Image.open(second)))


def segmented(visitor: Visitor, file: Path, expected: Path) -> None:
    """Wait for the mask of a file, which has the area that Python finds."""
    area = facts(expected)[file.stem][0]
    visitor.wait_for_text("segmentation-facts", f"({area} of ")
    assert file.name in visitor.text("segmentation-facts")


def test_segmentation(visitor, images, expected, tmp_path):
    assert "Not a medical device" in visitor.page.inner_text("body")
    visitor.drop("segmentation-file", images / "first.png")
    segmented(visitor, images / "first.png", expected)
    area, confidence = facts(expected)["first"]
    text = visitor.text("segmentation-facts")
    assert f"{confidence:.4f}" in text
    assert "color dermoscopy images of one skin lesion each" in text
    assert "come with the bundle, trained on isic2017" in text
    assert "training images" in visitor.text("segmentation-message")
    visitor.press("segmentation-unsure")
    visitor.wait_for_text("segmentation-facts", "Uncertainty")
    assert visitor.shot(tmp_path / "segmentation_uncertainty.png").stat().st_size > 50_000
    visitor.press("segmentation-save")
    for name in ("first_mask.png", "first_probability.png"):
        same_pixels(visitor.download("segmentation-files", name, tmp_path), expected / name)
    assert Image.open(visitor.download("segmentation-files", "first_overlay.png", tmp_path)).size == (
        Image.open(images / "first.png").size
    )
    visitor.slide("segmentation-threshold", 0.99)
    visitor.page.wait_for_function(
        "area => !document.getElementById('segmentation-facts').innerText.includes(area)",
        arg=f"({area} of ",
        timeout=WAIT,
    )
    assert not visitor.page.locator("#segmentation-files a").count()  # files of the other threshold are gone
    visitor.page.get_by_label("Mask").check()
    visitor.slide("segmentation-threshold", 0.5)
    segmented(visitor, images / "first.png", expected)
    visitor.shot(tmp_path / "segmentation.png")


def test_segmentation_of_a_volume(visitor, images, tmp_path):
    visitor.drop("segmentation-file", images / "head_a.nii.gz")
    visitor.wait_for_text("segmentation-facts", "head_a.nii.gz, 48 × 48 pixels")
    visitor.press("segmentation-save")
    middle = nib.load(visitor.download("segmentation-files", "head_a_slice0011_mask.nii.gz", tmp_path))
    visitor.slide("segmentation-slice", 3)
    visitor.page.wait_for_function("!document.querySelector('#segmentation-files a')", timeout=WAIT)
    visitor.press("segmentation-every")
    visitor.wait_for_text("segmentation-message", "Every slice was segmented")
    whole = nib.load(visitor.download("segmentation-files", "head_a_mask.nii.gz", tmp_path))
    assert whole.shape == (48, 48, 20)
    np.testing.assert_allclose(whole.affine, AFFINE)
    np.testing.assert_array_equal(whole.get_fdata()[:, :, 10:11], middle.get_fdata())
    np.testing.assert_allclose(middle.affine @ [0, 0, 0, 1], AFFINE @ [0, 0, 10, 1])
    visitor.shot(tmp_path / "segmentation_volume.png")


def test_classification(visitor, images, expected, tmp_path):
    visitor.open_tab("Classification")
    visitor.drop("classification-file", images / "chest.png")
    text = visitor.wait_for_text("classification-facts", "chest.png")
    assert "temperature that is stored with these weights, 0.5931" in text
    probabilities = facts(expected)["chest"]
    answer = visitor.text("classification-answer")
    for name, value in probabilities.items():
        assert f"{100 * value:.2f} %" in answer and name in answer
    predicted = max(probabilities, key=probabilities.get)
    other = min(probabilities, key=probabilities.get)
    assert f"speaks for {predicted}" in text or f"speaks for {predicted} in the layer" in text
    visitor.press("classification-unsure")
    visitor.wait_for_text("classification-facts", "Uncertainty")
    visitor.press("classification-save")
    same_pixels(
        visitor.download("classification-files", "chest_explained.png", tmp_path), expected / "chest_explained.png"
    )
    rows = []
    for place in (visitor.download("classification-files", "chest_prediction.csv", tmp_path), expected):
        table = place if place.is_file() else place / "chest_prediction.csv"
        with table.open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        rows.append(row)
    assert rows[0].pop("image") == "chest.png"  # no folder
    rows[1].pop("image")
    assert rows[0] == rows[1]
    visitor.shot(tmp_path / "classification.png")
    visitor.page.locator("#classification-class input").click()
    visitor.page.get_by_role("option", name=other).click()
    visitor.wait_for_text("classification-facts", f"speaks for {other}")
    visitor.page.locator("#classification-weights input").click()
    visitor.page.get_by_role("option", name="medspectralnet").click()
    assert "0.8069" in visitor.wait_for_text("classification-facts", "BreastMNIST")


def test_fusion_of_pictures_and_volumes(visitor, images, expected, tmp_path):
    visitor.open_tab("Fusion")
    visitor.drop("fusion-file-a", images / "pair_a.png")
    visitor.wait_for_text("fusion-message", "Drop source B as well")
    visitor.drop("fusion-file-b", images / "pair_b.png")
    visitor.wait_for_text("fusion-facts", "96 × 96 pixels")
    visitor.press("fusion-save")
    same_pixels(visitor.download("fusion-files", "pair_a_fused.png", tmp_path), expected / "pair_a_fused.png")
    visitor.download("fusion-files", "pair_a_panel.png", tmp_path)
    visitor.shot(tmp_path / "fusion.png")
    visitor.drop("fusion-file-a", images / "head_a.nii.gz")
    assert "choose other weights from the list" in visitor.wait_for_text("fusion-message", "is a volume")
    visitor.drop("fusion-file-b", images / "head_b.nii.gz")
    visitor.page.locator("#fusion-weights input").click()
    visitor.page.get_by_role("option", name="3D").click()
    visitor.wait_for_text("fusion-facts", "48 × 48 × 20 voxels")
    before = visitor.page.locator("#fusion-result img").get_attribute("src")
    visitor.slide("fusion-slice", 5)
    visitor.page.wait_for_function(
        "src => document.querySelector('#fusion-result img')?.getAttribute('src') !== src", arg=before, timeout=WAIT
    )
    visitor.press("fusion-unsure")
    visitor.wait_for_text("fusion-facts", "Uncertainty")
    visitor.press("fusion-save")
    made = nib.load(visitor.download("fusion-files", "head_a_fused.nii.gz", tmp_path))
    own = nib.load(expected / "head_a_fused.nii.gz")
    np.testing.assert_array_equal(made.get_fdata(), own.get_fdata())
    np.testing.assert_array_equal(made.affine, own.affine)
    visitor.shot(tmp_path / "fusion_volume.png")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.png", "not an image of a known format"),
        ("empty.png", "the file is empty"),
        ("cut.png", "truncated"),
        ("nan.nii.gz", "NaN"),
    ],
)
def test_a_bad_file_gives_a_message_and_the_server_goes_on(visitor, server, images, expected, tmp_path, name, says):
    visitor.drop("segmentation-file", images / name)
    message = visitor.wait_for_text("segmentation-message", "Not possible.").partition("Not possible.")[2]
    assert says in message
    assert message.strip().startswith(name.split(".")[0])
    assert "/" not in message  # no folder
    assert "Traceback" not in visitor.page.inner_text("body")
    visitor.shot(tmp_path / "bad.png")
    visitor.open_tab("Classification")
    visitor.drop("classification-file", images / name)
    assert says in visitor.wait_for_text("classification-message", "Not possible.")
    visitor.open_tab("Segmentation")
    visitor.drop("segmentation-file", images / "second.png")
    segmented(visitor, images / "second.png", expected)


def test_a_picture_of_4000_pixels(visitor, images, expected, tmp_path):
    visitor.drop("segmentation-file", images / "large.png")
    visitor.wait_for_text("segmentation-facts", f"{LARGE} × {LARGE} pixels")
    segmented(visitor, images / "large.png", expected)
    shown = "size => document.querySelector('#segmentation-result img')?.naturalWidth === size"
    visitor.page.wait_for_function(shown, arg=1024, timeout=WAIT)  # the browser loads it after the text
    visitor.press("segmentation-save")
    same_pixels(visitor.download("segmentation-files", "large_mask.png", tmp_path), expected / "large_mask.png")
    visitor.shot(tmp_path / "large.png")
    visitor.open_tab("Classification")
    visitor.drop("classification-file", images / "large.png")
    visitor.wait_for_text("classification-facts", f"{LARGE} × {LARGE} pixels")


def test_two_visitors_at_once_get_their_own_answers(browser, server, images, expected, tmp_path):
    names = ("first", "second")
    visitors = [Visitor(browser, server.url) for _ in names]
    for turn in range(3):
        order = names if turn % 2 == 0 else names[::-1]
        for one, name in zip(visitors, order, strict=True):
            one.drop("segmentation-file", images / f"{name}.png")
        for one, name in zip(visitors, order, strict=True):
            segmented(one, images / f"{name}.png", expected)
    for one in visitors:
        one.press("segmentation-save")
    for one, name in zip(visitors, names, strict=True):
        same_pixels(one.download("segmentation-files", f"{name}_mask.png", tmp_path), expected / f"{name}_mask.png")
        one.shot(tmp_path / f"visitor_{name}.png")
        assert one.foreign() == []
        one.close()


def test_nothing_else_can_be_fetched(server, tmp_path):
    private = next(path for path in server.temporary.iterdir() if path.name.startswith("medssm_viewer_"))
    (private / "secret.txt").write_text("a secret")
    inside = [path for path in private.rglob("*.npy")]
    assert inside  # results of the tests before
    root = Path(__file__).parents[2]
    targets = [private / "secret.txt", *inside[:2], root / "pyproject.toml", Path("/etc/passwd"), private / "files"]
    for target in targets:
        for form in (
            str(target),
            str(target).replace("/", "%2F"),
            f"{private}/files/../../..{target}",
            f"{private}/files/%2e%2e/%2e%2e/%2e%2e{target}",
            f"..{target}",
            f"//{target}",
        ):
            status, body = server.get(f"/gradio_api/file={form}")
            assert status in (400, 403, 404), (form, status, body[:200])
    assert server.get("/gradio_api/file=http://192.0.2.1/x.png")[0] == 403
    assert server.get("/gradio_api/proxy=https://example.hf.space/x")[0] == 403
    assert server.get("/", Host="evil.example")[0] == 403
    assert server.get("/", Origin="https://evil.example")[0] == 403
    (private / "secret.txt").unlink()


@pytest.mark.parametrize("path", ["/etc/passwd", "http://192.0.2.1/x.png", "http://127.0.0.1:1/x.png"])
def test_a_request_past_the_page_reads_no_other_file_and_fetches_nothing(asked_past_the_page, path):
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    said = asked_past_the_page.ask(0, [file, "mamba_mis, 2D", "Mask", 0.5, 0.5, None])
    assert '"success":false' in said.replace(" ", "") or "Not possible" in said
    assert "root:" not in said


def test_the_page_says_what_its_limits_are(visitor):
    text = visitor.page.inner_text("body")
    assert "512 MiB for a file" in text
    assert "36 million pixels" in text
