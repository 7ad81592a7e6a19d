"""Scores per class, against SciPy's distance transform, scikit-image's components, MONAI, and counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter
from skimage.measure import label as skimage_label

from medssm_monai.metrics import CLASS_METRIC_SETS, class_metric_names, class_scores
from medssm_monai.metrics.class_overlap import volume_unit

SHAPES = {2: (40, 56), 3: (20, 26, 17)}
SPACING = {2: (0.5, 2.0), 3: (0.8, 0.9, 2.5)}


def blobs(seed: int, ndim: int, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Correlated masks of several components."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.random(SHAPES[ndim]), 2)
    noisy = field + 0.6 * gaussian_filter(rng.random(SHAPES[ndim]), 1.5)
    return noisy > np.quantile(noisy, 1 - share), field > np.quantile(field, 1 - share)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_overlap_agrees_with_monai_and_counts(ndim: int, seed: int) -> None:
    pred, label = blobs(seed, ndim)
    scores = class_scores(pred, label)
    dice = DiceMetric()(torch.tensor(pred)[None, None].float(), torch.tensor(label)[None, None].float())
    assert scores["dice"] == pytest.approx(float(dice))
    assert scores["iou"] == pytest.approx((pred & label).sum() / (pred | label).sum())
    assert scores["sensitivity"] == pytest.approx(pred[label].mean())
    assert scores["precision"] == pytest.approx(label[pred].mean())
    assert tuple(scores) == CLASS_METRIC_SETS["basic"]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_spacing", [False, True])
def test_distances_agree_with_distance_transforms_and_monai(ndim: int, seed: int, with_spacing: bool) -> None:
    pred, label = blobs(seed, ndim)
    spacing = SPACING[ndim] if with_spacing else None
    step = spacing or (1.0,) * ndim
    edges = [mask & ~binary_erosion(mask) for mask in (pred, label)]
    there = distance_transform_edt(~edges[1], sampling=step)[edges[0]]
    back = distance_transform_edt(~edges[0], sampling=step)[edges[1]]
    for tolerance in (0.0, 1.3, 3.0):
        scores = class_scores(pred, label, ["hd95", "surface_dice"], spacing, tolerance)
        within = sum((found <= tolerance + 1e-6).sum() for found in (there, back))  # 0.8 * 3 and 0.9 * 2: exactly 3
        assert scores["surface_dice"] == pytest.approx(within / (len(there) + len(back)))
        assert scores["hd95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    tensors = [torch.tensor(mask)[None, None].float() for mask in (pred, label)]
    found = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=list(step))
    assert scores["hd95"] == pytest.approx(float(found), rel=1e-5)
    found = compute_surface_dice(*tensors, [3.0], include_background=True, spacing=list(step))
    assert scores["surface_dice"] == pytest.approx(float(found))


def test_surface_dice_of_a_shift_follows_the_spacing_of_its_axis() -> None:
    label = np.zeros((12, 12, 12), dtype=bool)
    label[5, 3:9, 3:9] = True
    pred = np.roll(label, 1, axis=0)
    for spacing, tolerance, expected in (((3, 1, 1), 2.9, 0), ((3, 1, 1), 3, 1), (None, 1, 1), (None, 0.9, 0)):
        scores = class_scores(pred, label, ["surface_dice", "hd95"], spacing, tolerance)
        assert scores == {"surface_dice": expected, "hd95": pytest.approx(3 if spacing else 1)}


def test_volume_in_its_unit() -> None:
    label, pred = np.zeros((2, 10, 10, 10), dtype=bool)
    label[2:4, 2:4, 2:4], pred[2:4, 2:4, 2:7] = True, True  # 8 and 20 voxels
    names = ["volume_difference", "relative_volume_difference"]
    assert class_scores(pred, label, names) == {names[0]: 12, names[1]: 1.5}
    assert class_scores(pred, label, names, (1, 2, 5))[names[0]] == pytest.approx(0.12)
    assert class_scores(label, pred, names, (1, 2, 5)) == pytest.approx({names[0]: -0.12, names[1]: -0.6})
    assert class_scores(pred[:, :, 3], label[:, :, 3], names, (1, 2))[names[0]] == 0
    assert class_scores(pred[3], label[3], names, (1, 2))[names[0]] == pytest.approx(12)
    assert [volume_unit(*of) for of in ((3, True), (2, True), (3, False), (2, False))] == [
        "ml",
        "mm2",
        "voxels",
        "pixels",
    ]


def test_lesions_counted_by_hand() -> None:
    label, pred = np.zeros((2, 8, 12), dtype=bool)
    label[0, 0] = label[1, 1] = True  # one lesion: corners connect
    label[5:7, 0:2] = True
    label[0:2, 9:11] = True
    pred[1, 1] = pred[6, 1] = True
    pred[4, 6] = pred[7, 11] = True
    found = class_scores(pred, label, "lesions")
    assert [found[f"lesion_{name}"] for name in ("tp", "fn", "fp")] == [2, 1, 2]
    assert found["lesion_sensitivity"] == pytest.approx(2 / 3) and found["lesion_f1"] == pytest.approx(4 / 7)
    bridge = label.copy()
    bridge[1, :] = True  # one predicted lesion finds two
    found = class_scores(bridge & (np.arange(8) < 3)[:, None], label, ["lesion_tp", "lesion_fn", "lesion_fp"])
    assert list(found.values()) == [2, 1, 0]


@pytest.mark.parametrize("ndim", [2, 3])
def test_lesions_agree_with_scikit_image(ndim: int) -> None:
    for seed in range(3):
        pred, label = blobs(seed, ndim, share=0.06)
        lesions, made = (skimage_label(mask, connectivity=ndim) for mask in (label, pred))
        hit = sum(pred[lesions == number].any() for number in range(1, lesions.max() + 1))
        wrong = sum(not label[made == number].any() for number in range(1, made.max() + 1))
        scores = class_scores(pred, label, "lesions")
        assert [scores[f"lesion_{name}"] for name in ("tp", "fn", "fp")] == [hit, lesions.max() - hit, wrong]


def test_absent_classes() -> None:
    none, some = np.zeros((6, 6, 6), dtype=bool), np.zeros((6, 6, 6), dtype=bool)
    some[1:3, 1:3, 1:3] = True
    nothing = class_scores(none, none, "all", (1, 1, 1))
    counted = {"volume_difference", "lesion_tp", "lesion_fn", "lesion_fp"}
    assert {name for name, value in nothing.items() if not math.isnan(value)} == counted
    assert all(nothing[name] == 0 for name in counted)
    made_up, missed = class_scores(some, none, "all", (1, 1, 1)), class_scores(none, some, "all", (1, 1, 1))
    for scores in (made_up, missed):
        assert scores["dice"] == scores["iou"] == scores["surface_dice"] == scores["lesion_f1"] == 0
        assert math.isnan(scores["hd95"])
    assert math.isnan(made_up["sensitivity"]) and made_up["precision"] == 0 and made_up["lesion_fp"] == 1
    assert missed["sensitivity"] == 0 and math.isnan(missed["precision"]) and missed["lesion_fn"] == 1
    assert made_up["volume_difference"] == pytest.approx(0.008) == -missed["volume_difference"]
    assert math.isnan(made_up["relative_volume_difference"]) and missed["relative_volume_difference"] == -1


def test_masks_at_the_border_and_cropping_change_nothing() -> None:
    pred, label = blobs(1, 3)
    wide = [np.pad(mask, ((7, 0), (0, 30), (4, 4))) for mask in (pred, label)]
    padded = [np.pad(mask, 1) for mask in (pred, label)]
    scores = class_scores(pred, label, "all", SPACING[3])
    assert class_scores(*wide, "all", SPACING[3]) == scores == class_scores(*padded, "all", SPACING[3])


def test_what_is_asked_for() -> None:
    assert class_metric_names(["hd95", "dice", "hd95"]) == ("hd95", "dice") and class_metric_names("iou") == ("iou",)
    assert set(CLASS_METRIC_SETS["all"]) > set(CLASS_METRIC_SETS["surface"]) | set(CLASS_METRIC_SETS["lesions"])
    with pytest.raises(ValueError, match=r"'polyp' judges the map of one foreground class.*basic, surface"):
        class_metric_names("polyp")
    for wrong in ("specificity", ["dice", "mae"], []):
        with pytest.raises(ValueError, match=r"unknown metrics .*lesion_f1"):
            class_metric_names(wrong)


@pytest.mark.parametrize(
    ("pred", "label", "arguments", "said"),
    [
        (np.ones((4, 4)), np.ones((4, 4), bool), {}, "bool masks of one shape.*float64"),
        (np.ones((4, 4), bool), np.ones((4, 5), bool), {}, r"\(4, 4\) and bool \(4, 5\)"),
        (np.ones((1, 1, 4, 4), bool), np.ones((1, 1, 4, 4), bool), {}, "bool masks"),
        (np.ones((4, 4), bool), np.ones((4, 4), bool), {"spacing": (1, 1, 1)}, "2 positive lengths"),
        (np.ones((4, 4), bool), np.ones((4, 4), bool), {"spacing": (1, 0)}, "2 positive lengths"),
        (np.ones((4, 4), bool), np.ones((4, 4), bool), {"spacing": (1, math.nan)}, "2 positive lengths"),
        (np.ones((4, 4), bool), np.ones((4, 4), bool), {"tolerance": -1}, "0 or more"),
    ],
)
def test_bad_input(pred, label, arguments, said) -> None:
    with pytest.raises(ValueError, match=said):
        class_scores(pred, label, **arguments)
