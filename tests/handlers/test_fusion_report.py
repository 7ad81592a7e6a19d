"""The report of a fusion, on generated pairs (not real ones)."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from PIL import Image

from medssm_monai.data import fusion_demo_sample
from medssm_monai.handlers import FusionReport
from medssm_monai.metrics import fusion_metrics

ROWS = ["fused", "average", "maximum", "copy of A", "copy of B"]


class Weighted(torch.nn.Module):
    """Three quarters of A and one of B: a fusion whose scores can be computed beside the report."""

    def forward(self, x):
        return 0.75 * x[:, :1] + 0.25 * x[:, 1:]


def pairs(count, dims=2, size=48):
    items = []
    for index in range(count):
        pair = [
            torch.from_numpy(image.astype(np.float32) / 255) for image in fusion_demo_sample("test", index, size, dims)
        ]
        image = torch.stack(pair)
        items.append({"image": image, "label": image})
    return items


def evaluate(items, report, network=None):
    network = network or Weighted()
    engine = SupervisedEvaluator("cpu", DataLoader(Dataset(items), batch_size=2), network, val_handlers=[report])
    engine.run()
    return engine


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_pair_is_scored_beside_the_plain_fusions(tmp_path):
    items = pairs(5)
    metrics = ["ssim_mean", "qabf", "psnr_mean", "psnr_pooled"]
    report = FusionReport(tmp_path, "test", "demo", metrics=metrics, sources=("MRI", "CT"), n_resamples=50)
    engine = evaluate(items, report)
    table = rows_of(tmp_path / "per_pair.csv")
    assert [row["row"] for row in table] == ROWS * 5
    a, b = (torch.stack([item["image"][i : i + 1] for item in items]) for i in (0, 1))
    expected = {"fused": 0.75 * a + 0.25 * b, "average": (a + b) / 2, "maximum": torch.maximum(a, b), "copy of A": a}
    for row, fused in expected.items():
        scores = fusion_metrics(fused, a, b, metrics)
        for metric in ("ssim_mean", "qabf", "psnr_pooled"):
            own = [float(entry[metric]) for entry in table if entry["row"] == row]
            np.testing.assert_allclose(own, scores[metric].numpy(), atol=1e-5)
            assert report.summary["rows"][row][metric]["mean"] == pytest.approx(np.mean(own), abs=1e-5)
    lead = report.summary["lead"]["maximum"]["qabf"]
    rows = report.summary["rows"]
    assert lead["mean"] == pytest.approx(rows["fused"]["qabf"]["mean"] - rows["maximum"]["qabf"]["mean"], abs=1e-9)
    assert lead["low"] <= lead["mean"] <= lead["high"]
    assert rows["average"]["psnr_pooled"]["mean"] >= max(rows[row]["psnr_pooled"]["mean"] for row in ROWS)
    assert engine.state.metrics["test_qabf"] == pytest.approx(rows["fused"]["qabf"]["mean"])


def test_plain_fusions_are_of_what_the_network_was_given(tmp_path):
    items = [{"image": item["label"] / 2, "label": item["label"]} for item in pairs(3)]
    report = FusionReport(tmp_path, metrics=["ssim_mean", "qabf"], n_resamples=50)
    evaluate(items, report)
    given, clean = (torch.stack([item[key] for item in items]) for key in ("image", "label"))
    for row, fused in {"maximum": given.amax(1, keepdim=True), "copy of B": given[:, 1:]}.items():
        expected = fusion_metrics(fused, clean[:, :1], clean[:, 1:], ["ssim_mean"])["ssim_mean"].mean()
        assert report.summary["rows"][row]["ssim_mean"]["mean"] == pytest.approx(float(expected), abs=1e-5)
    assert report.summary["rows"]["copy of B"]["ssim_mean"]["mean"] < 0.99 * float(
        fusion_metrics(clean[:, 1:], clean[:, :1], clean[:, 1:], ["ssim_mean"])["ssim_mean"].mean()
    )


def test_files_can_be_read_and_name_the_demo_set(tmp_path):
    report = FusionReport(tmp_path, "test", "demo", metrics=["ssim_mean", "psnr_mean", "scd_sum"], n_resamples=20)
    evaluate(pairs(3), report)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["rows"]["copy of A"]["psnr_mean"]["mean"] is None  # infinite
    assert summary["seconds_per_pair"] > 0
    text = (tmp_path / "report.md").read_text()
    assert "demo (synthetic)" in text and "copy of B" in text and "psnr_mean" in text


@pytest.mark.parametrize(("dims", "count", "kinds"), [(2, 5, 3), (3, 2, 2), (2, 1, 1)])
def test_cases_are_worst_median_and_best(tmp_path, dims, count, kinds):
    report = FusionReport(tmp_path, metrics=["ssim_mean"], n_resamples=20)
    evaluate(pairs(count, dims), report)
    cases = report.summary["cases"]
    assert [case["kind"] for case in cases] == [["worst", "median", "best"], ["worst", "best"], ["worst"]][3 - kinds]
    scores = [float(row["ssim_mean"]) for row in rows_of(tmp_path / "per_pair.csv") if row["row"] == "fused"]
    assert cases[0]["score"] == pytest.approx(min(scores), abs=1e-5)
    assert cases[-1]["score"] == pytest.approx(max(scores), abs=1e-5)
    if kinds == 3:
        assert cases[1]["score"] == pytest.approx(sorted(scores)[count // 2], abs=1e-5)
    files = sorted((tmp_path / "cases").glob("*.png"))
    assert len(files) == kinds
    with Image.open(files[0]) as picture:
        assert picture.width >= 4 * 192
        assert (picture.height >= 3 * 192) == (dims == 3)  # three planes of a volume


def test_color_of_a_source_is_shown(tmp_path):
    items = pairs(1)
    items[0]["image_b_chroma"] = torch.stack([torch.full((48, 48), 0.3), torch.full((48, 48), 0.8)])
    evaluate(items, FusionReport(tmp_path, metrics=["ssim_mean"], n_resamples=20))
    picture = np.asarray(Image.open(tmp_path / "cases.png")).astype(int)
    third = picture[60:-20, 2 * 200 + 20 : 3 * 190]
    assert np.abs(third[..., 0] - third[..., 2]).mean() > 50
    first = picture[60:-20, 20:180]
    assert np.abs(first[..., 0] - first[..., 2]).max() == 0


def test_groups_are_resampled_together_and_pictures_of_an_earlier_run_go(tmp_path):
    report = FusionReport(tmp_path, metrics=["ssim_mean"], group=r"image0000(\d)", n_resamples=20)
    evaluate(pairs(4), report)
    assert report.summary["groups"] == 4
    own = FusionReport(tmp_path / "own", metrics=["ssim_mean"], n_resamples=20)
    evaluate([{**item, "group": n // 2} for n, item in enumerate(pairs(4))], own)
    assert own.summary["groups"] == 2
    assert [row["group"] for row in rows_of(tmp_path / "own" / "per_pair.csv") if row["row"] == "fused"] == list("0011")
    evaluate(pairs(1), report)
    assert len(list((tmp_path / "cases").glob("*.png"))) == 1


def test_what_is_no_fusion_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown fusion metrics"):
        FusionReport(tmp_path, metrics=["dice"])
    with pytest.raises(ValueError, match=r"cannot evaluate .*image00000.*\(2, 48, 48\)"):
        evaluate(pairs(1), FusionReport(tmp_path), torch.nn.Identity())
    with pytest.raises(ValueError, match=r"cannot evaluate .*values in \[0, 1\]"):
        evaluate([{**item, "label": item["label"] * 300} for item in pairs(1)], FusionReport(tmp_path))


def test_panels_and_tables_name_the_modalities(tmp_path, monkeypatch):
    from PIL import ImageDraw

    written = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, at, text, *args: (written.append(text), draw(self, at, text, *args))
    )
    report = FusionReport(tmp_path, metrics=["ssim_mean"], sources=("MRI", "CT"), n_resamples=20)
    evaluate(pairs(1), report)
    assert written[0].startswith("worst: ssim_mean 0.") and "image00000" in written[0]
    assert written[1:4] == ["MRI", "CT", "fused"] and written[4].startswith("fused - maximum (\u00b10.")
    page = (tmp_path / "report.md").read_text()
    assert "| fused | average | maximum | copy of A (MRI) | copy of B (CT) |" in page
    assert "only 1 pair:" in page
    with pytest.raises(ValueError, match=r"source A and source B, got \['MRI'\]"):
        FusionReport(tmp_path, sources=["MRI"])
