"""Evaluation and inference of the Mamba-MIS bundle on a tiny network, and what they leave behind."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from .bundle_runs import MAMBA_MIS, program

EVALUATE = ("train.yaml", "evaluate.yaml")


@pytest.fixture(scope="module")
def trained(train_tiny):
    """Folder of a finished tiny training of two epochs on the demo set."""
    return train_tiny(MAMBA_MIS)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"resize_to": [64, 96], "roi_size": [64, 96]},
        {"resize_to": False, "report_metrics": "polyp"},
        {"part": "all"},
        {"corruption": {"kind": "brightness", "strength": -1}},
    ],
    ids=["trained size", "another size", "sliding window", "all parts", "black images"],
)
def test_evaluation_reports_on_the_test_part(trained, tmp_path, overrides):
    settings = {k: MAMBA_MIS.tiny[k] for k in ("datalists#demo_counts", "device")}
    ckpt = str(trained / "models" / "model.pt")
    flow = MAMBA_MIS.run(EVALUATE, tmp_path, "train", **settings, **overrides, ckpt_path=ckpt, run_name="test")
    summary = json.loads((tmp_path / "test" / "summary.json").read_text())
    with open(tmp_path / "test" / "per_image.csv") as stream:
        rows = list(csv.DictReader(stream))
    part = overrides.get("part", "test")
    assert len(rows) == (16 if part == "all" else 4)
    assert part == "all" or all("demo_test" in row["image"] for row in rows)
    assert "demo (synthetic)" in json.dumps(summary)
    dice = np.mean([float(row["dice"]) for row in rows])
    assert flow.evaluator.state.metrics[f"{part}_dice"] == pytest.approx(dice, abs=1e-4)
    share = [(int(row["tp"]) + int(row["fn"])) / (int(row["height"]) * int(row["width"])) for row in rows]
    full = np.mean([2 * one / (1 + one) for one in share])  # Dice of a mask that is foreground throughout
    assert summary["floors"]["all foreground"]["dice"]["value"] == pytest.approx(full)
    assert summary["floors"]["all background"]["dice"]["value"] == 0
    assert "| all foreground |" in (tmp_path / "test" / "report.md").read_text().split("## Sanity")[1]
    if "corruption" in overrides:  # images that are black everywhere get one mask
        assert len({int(row["tp"]) + int(row["fp"]) for row in rows}) == 1
        assert any(warning.startswith(("constant output: ", "dice: ")) for warning in summary["warnings"])
    assert (tmp_path / "test" / "overlays.png").stat().st_size > 1000


def test_inference_writes_masks_in_the_geometry_of_the_input(trained, tmp_path, write_image):
    nib = pytest.importorskip("nibabel")
    sizes = {"wide": (90, 40), "two words": (33, 65), "large": (300, 200)}
    for name, (width, height) in sizes.items():
        write_image(tmp_path / "in" / f"{name}.png", width, height)
    affine = np.diag([0.5, 0.7, 1.0, 1.0])
    volume = np.random.default_rng(0).random((50, 41, 1)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, affine), tmp_path / "in" / "slice.nii.gz")
    for resize in ("@image_size", False):
        out = tmp_path / ("resized" if resize else "by windows")
        ckpt = str(trained / "models" / "model.pt")
        MAMBA_MIS.run(
            ("inference.yaml",), out, "infer", dataset_dir=str(tmp_path / "in"), ckpt_path=ckpt, resize_to=resize
        )
        for name, size in sizes.items():
            with Image.open(out / f"{name}.png") as mask:
                assert (mask.size, mask.mode) == (size, "L")
                assert set(np.unique(mask)) <= {0, 255}
        result = nib.load(out / "slice.nii.gz")
        assert result.shape == (50, 41, 1)
        np.testing.assert_allclose(result.affine, affine)


def test_the_command_line_asks_for_the_size_of_the_files(trained, tmp_path, write_image):
    """Word by word as documented: MONAI drops options whose value is None, so the configs use False."""
    write_image(tmp_path / "in" / "a.png", 70, 50)
    results = {}
    for resize in ("[32,32]", "False"):
        out = tmp_path / resize.strip("[]")
        words = ["-m", "monai.bundle", "run", "--config_file", *MAMBA_MIS.config("inference.yaml")]
        words += ["--dataset_dir", str(tmp_path / "in"), "--output_dir", f"$'{out.as_posix()}'", "--threshold", "False"]
        done = program([*words, "--resize_to", resize, "--ckpt_path", str(trained / "models" / "model.pt")], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        results[resize] = np.asarray(Image.open(out / "a.png"))
    assert all(r.shape == (50, 70) and len(np.unique(r)) > 2 for r in results.values())
    assert not np.array_equal(*results.values())
