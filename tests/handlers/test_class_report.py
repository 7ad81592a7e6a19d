"""The report of several classes and of volumes, against MONAI's scores and counts by hand."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.metrics import DiceMetric
from PIL import Image
from scipy.ndimage import gaussian_filter

from medssm_monai.data.labels import LabelSet
from medssm_monai.handlers import SegmentationReport

EXCLUSIVE = LabelSet.of({"liver": 1, "tumor": 2, "spleen": 7, "ignore": 9})
REGIONS = LabelSet.of({"whole": [1, 2, 3], "core": [1, 3], "enhancing": 3})
AFFINE = torch.diag(torch.tensor([0.8, 0.9, 2.5, 1.0], dtype=torch.float64))
SIZES = {2: (24, 20), 3: (14, 12, 10)}


def items_of(labels: LabelSet, ndim: int, count: int = 3, values: tuple[int, ...] | None = None) -> list[dict]:
    """Random smooth label maps with predictions that mostly agree; every item as the post-processing leaves it."""
    items = []
    for number in range(count):
        rng = np.random.default_rng(number)
        fields = np.stack([gaussian_filter(rng.random(SIZES[ndim]), 1.5) for _ in labels.known])
        known = labels.known if values is None else values
        raw = np.take(known, fields[: len(known)].argmax(0))[None]
        target = labels.to_target(labels.to_indices(torch.from_numpy(raw)))
        noise = torch.from_numpy(rng.random((labels.out_channels, *SIZES[ndim])).astype(np.float32))
        if labels.softmax:
            numbers = target.clamp(min=0).long()
            pred = (
                2 * torch.nn.functional.one_hot(numbers[0], labels.out_channels).movedim(-1, 0) + 2.4 * noise
            ).softmax(0)
        else:
            pred = 0.6 * target.clamp(min=0) + 0.6 * noise.clamp(max=0.65)
        meta = {"filename_or_obj": f"/x/s{number // 2}_{number}.nii.gz"}
        items.append(
            {
                "image": MetaTensor(torch.rand(4, *SIZES[ndim]), affine=AFFINE, meta=meta),
                "label": MetaTensor(target, affine=AFFINE),
                "pred": MetaTensor(pred, affine=AFFINE),
            }
        )
    return items


def evaluate(items: list[dict], folder, labels, **arguments) -> tuple[SegmentationReport, Engine]:
    engine = Engine(lambda e, batch: batch)
    engine.add_event_handler(Events.ITERATION_STARTED, lambda e: setattr(e.state, "output", e.state.batch))
    handler = SegmentationReport(folder, labels=labels, n_resamples=50, **arguments)
    handler.attach(engine)
    engine.run([items])
    return handler, engine


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
def test_dice_of_every_class_is_monais(tmp_path, labels: LabelSet, ndim: int) -> None:
    items = items_of(labels, ndim)
    _, engine = evaluate(items, tmp_path, labels, case_count=1)
    rows = rows_of(tmp_path / "per_image.csv")
    table = []
    for item, row in zip(items, rows, strict=True):
        target, pred = item["label"].as_tensor(), item["pred"].as_tensor()
        kept = (target >= 0).all(0)
        if labels.softmax:
            one_hot = torch.nn.functional.one_hot(pred.argmax(0), 4).movedim(-1, 0)[1:]
            truth = torch.nn.functional.one_hot(target[0].clamp(min=0).long(), 4).movedim(-1, 0)[1:]
        else:
            one_hot, truth = pred >= 0.5, target
        dice = DiceMetric(ignore_empty=True)(one_hot[None] * kept, truth[None] * kept)[0].tolist()
        table.append(dice)
        for name, value in zip(labels.names, dice, strict=True):
            assert float(row[f"dice_{name}"]) == pytest.approx(value, abs=1e-6)
            counts = [int(row[f"{key}_{name}"]) for key in ("tp", "fp", "fn", "tn")]
            assert sum(counts) == int(kept.sum())
        assert float(row["dice"]) == pytest.approx(np.mean(dice), abs=1e-6)
    assert (labels.ignore is None) == (int(kept.sum()) == np.prod(SIZES[ndim]))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["per_image"]["dice"]["mean"] == pytest.approx(np.mean(table))
    assert summary["per_image"]["dice"]["low"] <= np.mean(table) <= summary["per_image"]["dice"]["high"]
    for number, name in enumerate(labels.names):
        column = np.array(table)[:, number]
        entry = summary["classes"][name]
        assert entry["dice"]["mean"] == pytest.approx(column.mean()) == engine.state.metrics[f"test_dice_{name}"]
        assert entry["dice"]["sd"] == pytest.approx(column.std(ddof=1), rel=1e-5) and entry["present"] == 3
        tp, fp, fn = (sum(int(row[f"{key}_{name}"]) for row in rows) for key in ("tp", "fp", "fn"))
        assert entry["pooled"]["dice"]["value"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
        assert entry["counts"]["fp"] == fp
    assert engine.state.metrics["test_dice"] == pytest.approx(np.mean(table))
    assert summary["labels"] == labels.labels and summary["threshold"] == (None if labels.softmax else 0.5)
    size = ("height", "width") if ndim == 2 else ("size_x", "size_y", "size_z")
    assert tuple(int(rows[0][key]) for key in size) == SIZES[ndim]


def test_the_page_and_the_pictures(tmp_path) -> None:
    handler, _ = evaluate(items_of(EXCLUSIVE, 3), tmp_path, EXCLUSIVE, metrics="all", case_count=1, tolerance=2.0)
    page = (tmp_path / "report.md").read_text()
    for name in EXCLUSIVE.names:
        assert len(re.findall(rf"^\| {name} \|", page, re.MULTILINE)) == 2
    assert "mean of an image's classes" in page and "is not counted there" in page
    assert "hd95 (mm)" in page and "volume_difference (ml)" in page and "Tolerance of surface Dice: 2 mm" in page
    assert "Prediction: the most probable class" in page and "everywhere |" in page
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(list(folder.iterdir())) == 3
    picture = np.asarray(Image.open(sorted(folder.iterdir())[0]))
    seen = [(picture == np.array(color)).all(axis=-1).sum() for color in EXCLUSIVE.colors]
    assert min(seen) > 100
    assert handler.summary["cases_by"] == "dice" and len(handler.summary["cases"]) == 3


def test_volumes_are_in_mm_by_their_affine_and_pictures_by_the_spacing(tmp_path) -> None:
    def distance(items, **arguments):
        summary = evaluate(items, tmp_path, EXCLUSIVE, metrics="surface", case_count=0, **arguments)[0].summary
        return summary["distance_unit"], summary["volume_unit"], summary["classes"]["liver"]

    *units, mm = distance(items_of(EXCLUSIVE, 3), spacing=17.0)
    assert units == ["mm", "ml"]
    plain = items_of(EXCLUSIVE, 3)
    for item in plain:
        item["label"] = item["label"].as_tensor()  # the image's affine holds
    assert distance(plain)[2] == mm
    for item in plain:
        item["image"] = item["image"].as_tensor()
    *units, voxels = distance(plain)
    assert units == ["voxels", "voxels"] and voxels["hd95"] != mm["hd95"]
    unit = 0.8 * 0.9 * 2.5 / 1000
    assert mm["volume_difference"]["mean"] == pytest.approx(voxels["volume_difference"]["mean"] * unit)
    assert distance(plain, spacing=(0.8, 0.9, 2.5))[2] == mm
    *units, pixels = distance(items_of(EXCLUSIVE, 2))
    assert units == ["pixels", "pixels"]
    *units, mm = distance(items_of(EXCLUSIVE, 2), spacing=2)
    assert units == ["mm", "mm2"] and mm["hd95"]["mean"] == pytest.approx(2 * pixels["hd95"]["mean"])


def test_absent_classes_do_not_count(tmp_path) -> None:
    items = items_of(EXCLUSIVE, 3, values=(0, 1, 7))  # no tumor
    for item in items:
        item["pred"][2] = 0
    spoiled = items[0]["pred"]
    spoiled[:, 0, 0, 0] = torch.tensor([0.0, 0.0, 1.0, 0.0])  # a voxel of tumor
    handler, _ = evaluate(items, tmp_path, EXCLUSIVE, case_count=0)
    rows = rows_of(tmp_path / "per_image.csv")
    assert float(rows[0]["dice_tumor"]) == 0 and [row["dice_tumor"] for row in rows[1:]] == ["", ""]
    assert float(rows[1]["volume_difference_tumor"]) == 0
    for row in rows[1:]:
        mean = (float(row["dice_liver"]) + float(row["dice_spleen"])) / 2
        assert float(row["dice"]) == pytest.approx(mean, abs=1e-6)
    tumor = handler.summary["classes"]["tumor"]
    assert (tumor["present"], tumor["predicted_only"], tumor["missed"]) == (0, 1, 0)
    assert tumor["dice"]["images"] == 1 and tumor["sensitivity"]["images"] == 0
    assert any(said.startswith("tumor is in no label") for said in handler.summary["warnings"])
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_a_class_that_is_never_predicted_is_warned_of(tmp_path) -> None:
    items = items_of(REGIONS, 2)
    for item in items:
        item["pred"][2] = 0.1
    handler, _ = evaluate(items, tmp_path, REGIONS, case_count=0)
    assert any(said == "enhancing: constant output: all 3 masks are empty" for said in handler.summary["warnings"])
    assert handler.summary["classes"]["enhancing"]["missed"] == 3
    assert handler.summary["classes"]["enhancing"]["dice"]["mean"] == 0


UNKNOWN = pytest.approx(np.nan, nan_ok=True)


def test_floors_by_hand(tmp_path) -> None:
    target = torch.zeros(1, 10, 10)
    target[0, :4], target[0, 4:6] = 1, 2
    pred = torch.nn.functional.one_hot(target[0].long(), 4).movedim(-1, 0).float()
    handler, _ = evaluate([{"label": target, "pred": pred}], tmp_path, EXCLUSIVE, case_count=0)
    liver = 2 * 40 / (40 + 100)
    assert handler.summary["floors"] == {
        "liver everywhere": {
            "dice": {"value": pytest.approx(liver / 2), "low": UNKNOWN, "high": UNKNOWN},
            "iou": {"value": pytest.approx(0.4 / 2), "low": UNKNOWN, "high": UNKNOWN},
        }
    }
    masks = torch.zeros(3, 10, 10)
    masks[0, :5], masks[1, :2] = 1, 1
    handler, _ = evaluate([{"label": masks, "pred": masks}], tmp_path, REGIONS, case_count=0)
    floors = handler.summary["floors"]["all foreground"]
    assert floors["iou"]["value"] == pytest.approx((0.5 + 0.2 + 0) / 3)


def test_one_class_by_rule(tmp_path) -> None:
    labels = {"lesion": "foreground"}
    items = items_of(LabelSet.of(labels), 2)
    for item in items:
        item["image"] = item["image"][:3]
    evaluate(items, tmp_path / "a", None, metrics="polyp")
    evaluate(items, tmp_path / "b", labels, metrics="polyp")
    for name in ("per_image.csv", "overlays.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    a, b = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "ab")
    assert {**a, "written": 0} == {**b, "written": 0} and "classes" not in a
    handler, engine = evaluate(items_of(LabelSet.of(labels), 3), tmp_path / "c", labels, metrics="surface")
    assert handler.summary["distance_unit"] == "mm" and list(handler.summary["floors"]) == ["all foreground"]
    assert engine.state.metrics["test_dice"] == engine.state.metrics["test_dice_lesion"]
    with pytest.raises(ValueError, match=r"s0_0.*'polyp' judges"):
        evaluate(items_of(LabelSet.of(labels), 3), tmp_path / "c", labels, metrics="polyp")
    with pytest.raises(ValueError, match=r"s0_0.*surface"):
        evaluate(items, tmp_path / "c", labels, metrics="surface")
    with pytest.raises(ValueError, match="pictures and volumes"):
        evaluate([*items, *items_of(LabelSet.of(labels), 3, count=5)], tmp_path / "c", labels)


def test_groups_test_sets_and_unusual_names(tmp_path) -> None:
    labels = LabelSet.of({"a|b+c": 1, "=x": 2})
    items = items_of(labels, 2, count=4)
    for number, item in enumerate(items):
        item["dataset"] = "A" if number < 3 else "B"
    handler, engine = evaluate(items, tmp_path, labels, group=r"(s\d+)_", case_count=1)
    assert handler.summary["groups"] == 2
    assert {name: part["images"] for name, part in handler.summary["subsets"].items()} == {"A": 3, "B": 1}
    assert "## B (1 images)" in (page := (tmp_path / "report.md").read_text()) and r"| a\|b+c |" in page
    assert {"test_dice_a_b_c", "test_dice__x"} <= engine.state.metrics.keys()
    assert {"dice_a|b+c", "dice_=x", "group", "subset"} <= rows_of(tmp_path / "per_image.csv")[0].keys()


def test_pictures_and_volumes_are_not_mixed(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"voxels and voxels, .*s0_1.* pixels|pixels and pixels.*mm and ml"):
        two, three = items_of(EXCLUSIVE, 2)[0], items_of(EXCLUSIVE, 3)[1]
        evaluate([two, three], tmp_path, EXCLUSIVE, case_count=0)


def test_metrics_are_checked_at_once(tmp_path) -> None:
    with pytest.raises(ValueError, match="'polyp' judges"):
        SegmentationReport(tmp_path, labels=EXCLUSIVE, metrics="polyp")
    with pytest.raises(ValueError, match="unknown metric"):
        SegmentationReport(tmp_path, labels={"lesion": "foreground"}, metrics="dise")
    with pytest.raises(ValueError, match="unknown metric"):
        SegmentationReport(tmp_path, metrics="surface")
    with pytest.raises(ValueError, match="the background"):
        SegmentationReport(tmp_path, labels={"liver": 0})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda item: item.update(pred=item["pred"][:3]), r"pred has 3 channels.*needs 4 \(background, liver"),
        (lambda item: item.update(pred=item["pred"][:, :5]), r"\(4, 5, 20\).*\(1, 24, 20\)"),
        (lambda item: item.update(pred=item["pred"] * 9), "apply the softmax"),
        (lambda item: item.update(pred=item["pred"] * np.nan), "not finite"),
        (lambda item: item.update(label=item["label"] + 0.5), "EncodeLabelsd"),
        (lambda item: item.update(label=item["label"] * 0 + 7), "from -1 to 3"),
        (lambda item: item.update(label=item["label"] * 0 - 1), "nobody has labeled"),
    ],
)
def test_bad_items_are_named(tmp_path, change, said) -> None:
    items = items_of(EXCLUSIVE, 2)
    change(items[1])
    with pytest.raises(ValueError, match=rf"cannot evaluate /x/s0_1\.nii\.gz: .*{said}"):
        evaluate(items, tmp_path, EXCLUSIVE)
