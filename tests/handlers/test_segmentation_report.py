from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from PIL import Image

from medssm_monai.handlers import SegmentationReport
from medssm_monai.metrics import METRIC_SETS, segmentation_metrics
from medssm_monai.reports.cases import KeptPicture

from .engines_for_tests import brightness_net, evaluator, write_images


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def expected_scores(item: dict[str, str], metrics="polyp") -> dict[str, float]:
    image = np.asarray(Image.open(item["image"])).astype(np.float32).T  # MONAI's reader puts the columns first
    image = (image - image.min()) / (image.max() - image.min())
    label = np.asarray(Image.open(item["label"])).T > 127
    with torch.no_grad():
        prob = torch.sigmoid(brightness_net()(torch.from_numpy(image)[None, None]))[0]
    return segmentation_metrics(prob, label, metrics)


def test_files_hold_the_scores_of_every_image(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    engine = evaluator(items, [SegmentationReport(tmp_path / "out", data_name="demo", metrics="polyp", case_count=1)])
    engine.run()

    rows = rows_of(tmp_path / "out" / "per_image.csv")
    assert [row["image"] for row in rows] == [os.path.basename(item["image"]) for item in items]
    expected = [expected_scores(item) for item in items]
    for row, scores in zip(rows, expected, strict=True):
        for name, value in scores.items():
            assert float(row[name]) == pytest.approx(value, abs=2e-6), name
        assert sum(int(row[name]) for name in ("tp", "fp", "fn", "tn")) == 24 * 24

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["data"] == "demo (synthetic)" and summary["images"] == 6
    assert summary["image_sizes"] == {"24 x 24": 6} and summary["threshold"] == 0.5
    assert set(summary["per_image"]) == set(METRIC_SETS["polyp"])
    dice = summary["per_image"]["dice"]
    values = np.array([float(row["dice"]) for row in rows])
    assert dice["mean"] == pytest.approx(values.mean(), abs=1e-6)
    assert dice["sd"] == pytest.approx(values.std(ddof=1), abs=1e-6)
    assert dice["median"] == pytest.approx(np.median(values), abs=1e-6)
    assert dice["low"] <= dice["mean"] <= dice["high"]
    totals = {name: sum(int(row[name]) for row in rows) for name in ("tp", "fp", "fn")}
    pooled = 2 * totals["tp"] / (2 * totals["tp"] + totals["fp"] + totals["fn"])
    assert summary["pooled"]["dice"]["value"] == pytest.approx(pooled)
    assert summary["details"]["parameters"] == 2
    assert summary["details"]["scan backend"]
    assert summary["versions"]["torch"] and summary["versions"]["medssm-monai"]
    assert engine.state.metrics["test_dice"] == pytest.approx(values.mean(), abs=1e-6)
    assert engine.state.metrics["test_pooled_dice"] == pytest.approx(pooled)

    page = (tmp_path / "out" / "report.md").read_text()
    assert "demo (synthetic)" in page and "overlays.png" in page and "pooled over all pixels" in page


def test_worst_median_and_best_cases_are_shown(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    for i, item in enumerate(items):  # move the labels away, by a growing step: the last images score lowest
        label = np.asarray(Image.open(item["label"]))
        Image.fromarray(np.roll(label, 2 * i, axis=0)).save(item["label"])
    handler = SegmentationReport(tmp_path / "out", case_count=1)
    (tmp_path / "out" / "overlays").mkdir(parents=True)
    (tmp_path / "out" / "overlays" / "01_stale.png").write_bytes(b"old")
    (tmp_path / "out" / "overlays" / "mine.png").write_bytes(b"kept")
    evaluator(items, [handler]).run()
    rows = sorted(rows_of(tmp_path / "out" / "per_image.csv"), key=lambda row: float(row["dice"]))
    expected = [("worst", rows[0]), ("median", rows[2]), ("best", rows[5])]
    cases = handler.summary["cases"]
    named = [(case["kind"], os.path.basename(case["image"])) for case in cases]
    assert named == [(kind, row["image"]) for kind, row in expected]
    assert [case["score"] for case in cases] == pytest.approx([float(row["dice"]) for _, row in expected], abs=1e-6)
    names = sorted(os.listdir(tmp_path / "out" / "overlays"))
    stems = [f"{k}_{kind}_{os.path.basename(row['image'])}" for k, (kind, row) in enumerate(expected, start=1)]
    assert names == sorted([*(f"0{stem}" for stem in stems), "mine.png"])
    page = (tmp_path / "out" / "report.md").read_text()
    for kind, row in expected:
        assert f"- {kind}: {row['image']} ({float(row['dice']):.4f})" in page
    sizes = [Image.open(tmp_path / "out" / "overlays" / name).size for name in names[:3]]
    assert Image.open(tmp_path / "out" / "overlays.png").height > 3 * min(height for _, height in sizes)


def test_higher_is_worse_for_distances(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    handler = SegmentationReport(tmp_path / "out", metrics=["hd95", "dice"], case_count=1, spacing=0.5)
    evaluator(items, [handler]).run()
    rows = rows_of(tmp_path / "out" / "per_image.csv")
    distances = sorted((float(row["hd95"]) for row in rows), reverse=True)
    assert [case["score"] for case in handler.summary["cases"]] == pytest.approx(
        [distances[0], distances[2], distances[5]], abs=1e-5
    )
    assert handler.summary["distance_unit"] == "mm"


def test_groups_of_the_items_are_resampled_unless_an_expression_is_given(tmp_path) -> None:
    items = [{**item, "group": f"patient {i // 3}"} for i, item in enumerate(write_images(tmp_path / "data"))]
    handler = SegmentationReport(tmp_path / "out", case_count=0)
    evaluator(items, [handler]).run()
    assert handler.summary["groups"] == 2 and handler.summary["bootstrap"]["unit"] == "group"
    rows = rows_of(tmp_path / "out" / "per_image.csv")
    assert [row["group"] for row in rows] == ["patient 0"] * 3 + ["patient 1"] * 3
    handler = SegmentationReport(tmp_path / "by_name", group=r"(seq\d+)_", case_count=0)
    evaluator(items, [handler]).run()
    assert handler.summary["groups"] == 3
    handler = SegmentationReport(tmp_path / "some", case_count=0)
    evaluator([{k: v for k, v in item.items() if k != "group"} for item in items], [handler]).run()
    assert handler.summary["bootstrap"]["unit"] == "image"


def test_groups_and_test_sets(tmp_path) -> None:
    items = [{**item, "dataset": "A" if i < 4 else "B"} for i, item in enumerate(write_images(tmp_path / "data"))]
    handler = SegmentationReport(tmp_path / "out", group=r"(seq\d+)_", case_count=0)
    evaluator(items, [handler]).run()
    summary = handler.summary
    assert summary["groups"] == 3 and summary["bootstrap"]["unit"] == "group"
    assert {name: part["images"] for name, part in summary["subsets"].items()} == {"A": 4, "B": 2}
    rows = rows_of(tmp_path / "out" / "per_image.csv")
    assert [row["group"] for row in rows] == ["seq0", "seq0", "seq1", "seq1", "seq2", "seq2"]
    mean = np.mean([float(row["dice"]) for row in rows if row["subset"] == "B"])
    assert summary["subsets"]["B"]["per_image"]["dice"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert "## B (2 images)" in (tmp_path / "out" / "report.md").read_text()


def test_empty_labels_count_and_undefined_scores_stay_out(tmp_path) -> None:
    items = write_images(tmp_path / "data", count=4)
    Image.fromarray(np.zeros((24, 24), dtype=np.uint8)).save(items[1]["label"])
    handler = SegmentationReport(tmp_path / "out", metrics="polyp", case_count=0)
    evaluator(items, [handler]).run()
    rows = rows_of(tmp_path / "out" / "per_image.csv")
    assert rows[1]["sensitivity"] == "" and float(rows[1]["dice"]) == 0.0
    assert handler.summary["per_image"]["sensitivity"]["images"] == 3
    assert handler.summary["per_image"]["dice"]["images"] == 4
    assert float(rows[1]["hd95"]) == pytest.approx(24 * 2**0.5, abs=1e-4)


def test_single_image_has_no_interval_and_json_stays_valid(tmp_path) -> None:
    items = write_images(tmp_path / "data", count=1)
    evaluator(items, [SegmentationReport(tmp_path / "out")]).run()
    text = (tmp_path / "out" / "summary.json").read_text()
    assert json.loads(text)["per_image"]["dice"]["low"] is None and "NaN" not in text


def test_running_again_starts_afresh(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    handler = SegmentationReport(tmp_path / "out", case_count=0)
    engine = evaluator(items, [handler])
    engine.run()
    first = handler.summary["per_image"]
    engine.run()
    assert handler.summary["images"] == 6 and handler.summary["per_image"] == first
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["per_image.csv", "report.html", "report.md", "summary.json"]


def test_only_the_best_validation_is_written(tmp_path) -> None:
    net = brightness_net()
    report = SegmentationReport(tmp_path / "out", only_best=True, case_count=0)
    engine = evaluator(write_images(tmp_path / "data"), [report], network=net)
    figures = []
    for epoch, bias in enumerate((-15.0, -10.0, -17.0), start=1):  # the second is the best
        torch.nn.init.constant_(net.bias, bias)
        engine.run(epoch)
        figures.append(engine.state.metrics["test_dice"])
    assert figures[1] == max(figures) and figures[0] != figures[1] != figures[2]
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["per_image"]["dice"]["mean"] == pytest.approx(figures[1])


def test_data_without_files_gets_names(tmp_path) -> None:
    batch = [{"image": torch.rand(1, 16, 16), "label": (torch.rand(1, 16, 16) > 0.5).float()} for _ in range(3)]
    collated = {key: torch.stack([item[key] for item in batch]) for key in ("image", "label")}
    engine = SupervisedEvaluator("cpu", [collated], torch.nn.Sigmoid(), epoch_length=1)
    SegmentationReport(tmp_path, case_count=0).attach(engine)
    engine.run()
    assert len({row["image"] for row in rows_of(tmp_path / "per_image.csv")}) == 3


def test_pictures_where_image_and_prediction_differ_in_size(tmp_path) -> None:
    batch = {"image": torch.rand(2, 1, 8, 8), "label": (torch.rand(2, 1, 16, 24) > 0.5).float()}
    network = torch.nn.Sequential(torch.nn.Upsample((16, 24)), torch.nn.Sigmoid())
    engine = SupervisedEvaluator("cpu", [batch], network, epoch_length=1)
    SegmentationReport(tmp_path).attach(engine)
    engine.run()
    assert len(list((tmp_path / "overlays").iterdir())) == 2


def test_logits_are_refused_with_the_file(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    engine = SupervisedEvaluator("cpu", evaluator(items).data_loader, brightness_net())
    SegmentationReport(tmp_path / "out").attach(engine)
    with pytest.raises(ValueError, match=r"seq0_00\.png.*sigmoid"):
        engine.run()


def test_undecollated_items_are_refused(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    engine = SupervisedEvaluator("cpu", evaluator(items).data_loader, brightness_net(), decollate=False)
    SegmentationReport(tmp_path / "out").attach(engine)
    with pytest.raises(ValueError, match="decollate=True"):
        engine.run()


def test_unfit_group_and_unknown_metric(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    with pytest.raises(ValueError, match="patient"):
        evaluator(items, [SegmentationReport(tmp_path / "out", group=r"patient\d+")]).run()
    with pytest.raises(ValueError, match="dice"):
        SegmentationReport(tmp_path / "out", metrics="dise")


def test_folder_in_the_way_fails_before_the_evaluation(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PermissionError, match="output_dir"):
        evaluator(items, [SegmentationReport(tmp_path / "file")]).run()


def test_a_failed_evaluation_keeps_the_old_report(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    evaluator(items, [SegmentationReport(tmp_path / "out")]).run()
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    bad = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.constant_(bad.weight, float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        evaluator(items, [SegmentationReport(tmp_path / "out")], network=bad).run()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*")} == before


def test_the_head_says_which_weights_and_warns(tmp_path, caplog) -> None:
    items = write_images(tmp_path / "data", count=4)
    for item in items:
        Image.fromarray(np.zeros((24, 24), dtype=np.uint8)).save(item["label"])
    handler = SegmentationReport(tmp_path / "out", details={"weights": "model.pt, own, 1a2b", "window": 64})
    engine = evaluator(items, [handler])
    engine.run()
    few, empty, dice, _ = handler.summary["warnings"]
    assert "only 4 images" in few and "no label has any foreground" in empty
    assert dice.startswith("dice: ") and dice.endswith("the floors, all foreground (0.0000), all background (1.0000)")
    page = (tmp_path / "out" / "report.md").read_text().split("|")[0]
    assert "Weights: model.pt, own, 1a2b" in page and page.count("**Warning:**") == 4
    assert (tmp_path / "out" / "report.md").read_text().count("1a2b") == 1
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["details"]["weights"] == "model.pt, own, 1a2b"
    assert sum("only 4 images" in message for message in caplog.messages) == 1
    engine.run()  # the validations of a training do not repeat it
    assert sum("only 4 images" in message for message in caplog.messages) == 1


def test_twenty_images_are_enough(tmp_path) -> None:
    label = (torch.rand(20, 1, 8, 8) < 0.3).float()
    engine = SupervisedEvaluator("cpu", [{"image": label, "label": label}], torch.nn.Identity(), epoch_length=1)
    handler = SegmentationReport(tmp_path, case_count=0, n_resamples=10)
    handler.attach(engine)
    engine.run()
    assert handler.summary["warnings"] == []


def test_a_picture_kept_for_later() -> None:
    generator = np.random.default_rng(0)
    image = np.repeat(np.repeat(generator.integers(0, 255, (30, 20, 3), dtype=np.uint8), 8, axis=0), 8, axis=1)
    label, pred = np.zeros((2, 240, 160), dtype=bool)
    label[10:50, 20:31], pred[:7, 150:] = True, True
    kept = KeptPicture.pack(image, label, pred)
    shown, shown_label, shown_pred = kept.unpack()
    assert np.array_equal(shown_label, label) and np.array_equal(shown_pred, pred)
    assert np.abs(shown.astype(int) - image).mean() < 3 and len(kept.jpeg) < image.nbytes / 2
    large = KeptPicture.pack(
        np.zeros((700, 1400, 3), np.uint8), np.ones((700, 1400), bool), np.zeros((700, 1400), bool)
    )
    shown, shown_label, shown_pred = large.unpack()
    assert shown.shape == (320, 640, 3) and shown_label.all() and not shown_pred.any()


def test_masks_of_classes_kept_for_later() -> None:
    generator = np.random.default_rng(0)
    label, pred = generator.random((2, 5, 40, 30)) > 0.5
    _, shown_label, shown_pred = KeptPicture.pack(np.zeros((40, 30, 3), np.uint8), label, pred).unpack()
    assert np.array_equal(shown_label, label) and np.array_equal(shown_pred, pred)
    blocks = np.zeros((20, 700, 1400), bool)
    blocks[3, 100:200, 100:900] = True
    large = KeptPicture.pack(np.zeros((700, 1400, 3), np.uint8), blocks, ~blocks)
    _, shown_label, shown_pred = large.unpack()
    assert shown_label.shape == (20, 320, 640) and np.array_equal(shown_pred, ~shown_label)
    assert shown_label.any(axis=(1, 2)).tolist() == [number == 3 for number in range(20)] and len(large.masks) < 20_000
