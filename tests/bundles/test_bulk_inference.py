"""Inference of every bundle over good and bad images: the good are done, the bad listed, the exit code tells."""

from __future__ import annotations

import csv
import os
import sys

import numpy as np
import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image

from ..bundle.tiny_bundles import CLASSES, CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, copy_bundle
from .bundle_runs import program

LATIN = b"gr\xfcn".decode("utf-8", "surrogateescape")
undecodable = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")


def write_images(folder, tiny, names):
    """Pictures, or pairs of them, as the bundle takes them; their names begin with what is wrong with them."""
    folder.mkdir()
    endings = ("_a", "_b") if tiny is CLINICAL_FMAMBA else ("",)
    for number, name in enumerate(names):
        for ending in endings:
            path = folder / f"{name}{ending}.png"
            pixels = np.random.default_rng(number).integers(0, 256, (36, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            if name.startswith("cut") and ending != "_a":
                path.write_bytes(path.read_bytes()[:300])
    return folder


def workflow(root, out, images, **overrides):
    settings = {"bundle_root": str(root), "output_dir": f"$'{out.as_posix()}'", "dataset_dir": str(images)}
    run_id = overrides.pop("run_id", "run")
    flow = ConfigWorkflow(
        config_file=str(root / "configs" / "inference.yaml"),
        workflow_type="infer",
        logging_file=False,
        run_id=run_id,
        device="$torch.device('cpu')",
        **settings,
        **overrides,
    )
    flow.initialize()
    flow.run()
    flow.finalize()
    return flow


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@undecodable
@pytest.mark.parametrize("tiny", [MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, CLINICAL_FMAMBA], ids=lambda t: t.bundle)
def test_bad_images_are_listed_and_the_others_done(tiny, tmp_path):
    names = ["a", "cut b", LATIN, f"cut {LATIN}", "z"]
    images = write_images(tmp_path / "in", tiny, names)
    root, out = copy_bundle(tiny, tmp_path), tmp_path / "out"
    flow = workflow(root, out, images)
    assert [failure.stage for failure in flow.evaluator.failures] == ["read", "read"]
    assert flow.evaluator.done == 3
    written = [row["file"] for row in rows_of(out / "failed.csv")]
    suffix = "_a.png" if tiny is CLINICAL_FMAMBA else ".png"
    assert sorted(name.rsplit("/", 1)[-1] for name in written) == [f"cut b{suffix}", f"cut gr\\udcfcn{suffix}"]
    if tiny in (MEDCONVMAMBA, MEDSPECTRALNET):
        done = [row["image"].rsplit("/", 1)[-1] for row in rows_of(out / "predictions.csv")]
        assert sorted(done) == ["a.png", "gr\\udcfcn.png", "z.png"]
    else:
        suffix = "_fused.png" if tiny is CLINICAL_FMAMBA else ".png"
        assert {path.name for path in out.glob("*.png")} == {f"{name}{suffix}" for name in ("a", LATIN, "z")}


def test_the_command_ends_with_3_when_some_failed_and_with_1_when_all_did(tmp_path):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    images = write_images(tmp_path / "in", MAMBA_MIS, ["a", "cut b"])
    words = ["-m", "monai.bundle", "run", "--config_file", str(root / "configs" / "inference.yaml"), "--dataset_dir"]
    place = ["--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    for expected, given in ((3, images), (0, images / "a.png"), (1, images / "cut b.png")):
        done = program([*words, str(given), *place], tmp_path)
        assert done.returncode == expected, done.stdout + done.stderr
        if expected:
            assert "cut b.png (read): ImageReadError: cannot be decoded" in done.stdout + done.stderr
    assert (tmp_path / "out" / "a.png").is_file()
    assert len(list((tmp_path / "out").glob("failed_*.csv"))) == 1  # of the first run, kept by the second


@pytest.mark.parametrize("tiny", [MEDCONVMAMBA, MEDSPECTRALNET], ids=lambda t: t.bundle)
def test_explaining_needs_no_classes_and_shows_each_image_at_its_size(tiny, tmp_path):
    images = write_images(tmp_path / "in", tiny, ["a", "cut b"])
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (400, 500, 3), dtype=np.uint8)).save(images / "c.png")
    flow = workflow(copy_bundle(tiny, tmp_path), tmp_path / "out", images, run_id="explaining")
    folder = tmp_path / "out" / "explanations"
    predicted = {row["image"]: row for row in rows_of(tmp_path / "out" / "predictions.csv")}
    rows = rows_of(folder / "explanations.csv")
    assert [os.path.basename(row["image"]) for row in rows] == ["a.png", "c.png"]
    for row in rows:
        assert (row["class"], row["confidence"]) == tuple(
            predicted[row["image"]][key] for key in ("class", "confidence")
        )
        assert row["class"] in CLASSES
        assert float(row["peak"]) >= 0
        assert (folder / row["picture"]).is_file()
    width, height = Image.open(folder / "c.png").size
    assert width >= 2 * 500
    assert 400 < height < 400 + 80  # two lines of text above, the legend below
    left = np.asarray(Image.open(folder / "c.png"))[36 : 36 + 400, :500]
    shown = left if tiny is MEDSPECTRALNET else left[..., 0]  # one channel in: the network sees grey
    original = np.asarray(Image.open(images / "c.png").convert("RGB" if tiny is MEDSPECTRALNET else "L"))
    assert np.abs(shown.astype(int) - original).max() <= 1
    assert len(flow.evaluator.failures) == 1


def test_a_layer_that_is_not_there_is_named_for_each_image(tmp_path):
    images = write_images(tmp_path / "in", MEDSPECTRALNET, ["a", "b"])
    root = copy_bundle(MEDSPECTRALNET, tmp_path)
    with pytest.raises(RuntimeError) as raised:
        workflow(root, tmp_path / "out", images, run_id="explaining", explain_layer="no_such")
    assert "(explanation): ValueError: the network has no layer 'no_such'" in str(
        raised.value.__cause__ or raised.value
    )
    assert len(rows_of(tmp_path / "out" / "predictions.csv")) == 2


def test_segmentation_writes_outlines_and_a_table_when_asked(tmp_path):
    images = write_images(tmp_path / "in", MAMBA_MIS, ["a", "b"])
    root, out = copy_bundle(MAMBA_MIS, tmp_path), tmp_path / "out"
    workflow(root, out, images)
    assert {path.name for path in out.iterdir()} == {"a.png", "b.png"}
    workflow(root, out, images, save_overlay=True)
    rows = rows_of(out / "segmentations.csv")
    assert [row["mask"] for row in rows] == [str(out / "a.png"), str(out / "b.png")]
    for row in rows:
        mask = np.asarray(Image.open(row["mask"])) > 0
        assert (int(row["area_pixels"]), row["area_mm2"]) == (mask.sum(), "")
        assert float(row["share"]) == pytest.approx(mask.mean(), abs=1e-6)
        assert 0.5 <= float(row["confidence"]) <= 1
        drawn = np.asarray(Image.open(row["overlay"]))
        assert drawn.shape[:2] == (36 * 8, 40 * 8)  # small pictures are enlarged
        yellow = (drawn == (255, 212, 0)).all(-1)
        assert yellow.any() and not yellow[~mask.repeat(8, 0).repeat(8, 1)].any()
