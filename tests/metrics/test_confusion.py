from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score, recall_score

from medssm_monai.metrics import OVERLAP_METRICS, confusion_counts, overlap_scores

from .maps_for_tests import smooth_pair


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_agrees_with_scikit_learn(seed: int, threshold: float) -> None:
    prob, label = smooth_pair(seed)
    predicted, truth = (prob >= threshold).ravel(), label.ravel()
    tn, fp, fn, tp = confusion_matrix(truth, predicted).ravel()
    counts = confusion_counts(torch.from_numpy(prob)[None], torch.from_numpy(label)[None].float(), threshold)
    assert counts.tolist() == [tp, fp, fn, tn]
    scores = overlap_scores(counts)
    expected = {
        "dice": f1_score(truth, predicted),
        "iou": jaccard_score(truth, predicted),
        "iou_mean": jaccard_score(truth, predicted, average="macro"),
        "sensitivity": recall_score(truth, predicted),
        "specificity": recall_score(~truth, ~predicted),
        "accuracy": accuracy_score(truth, predicted),
    }
    assert set(scores) == set(OVERLAP_METRICS)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-12), name


def test_hand_computed_array() -> None:
    prob = np.array([[0.9, 0.5, 0.1], [0.6, 0.4, 0.0]])
    label = np.array([[1, 0, 1], [1, 0, 0]])
    counts = confusion_counts(prob, label)  # 0.5 itself is foreground
    assert counts.tolist() == [2, 1, 1, 2]
    scores = overlap_scores(counts)
    assert scores["dice"] == pytest.approx(4 / 6)
    assert scores["iou"] == pytest.approx(2 / 4)
    assert scores["iou_mean"] == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert scores["sensitivity"] == pytest.approx(2 / 3)
    assert scores["specificity"] == pytest.approx(2 / 3)
    assert scores["accuracy"] == pytest.approx(4 / 6)


EMPTY = [  # label, prediction -> dice, iou, iou_mean, sensitivity, specificity
    (0, 0, 1.0, 1.0, 1.0, np.nan, 1.0),
    (0, 1, 0.0, 0.0, 0.0, np.nan, 0.0),
    (1, 0, 0.0, 0.0, 0.0, 0.0, np.nan),
    (1, 1, 1.0, 1.0, 1.0, 1.0, np.nan),
]


@pytest.mark.parametrize(("label", "pred", "dice", "iou", "iou_mean", "sensitivity", "specificity"), EMPTY)
def test_empty_and_full_masks(label, pred, dice, iou, iou_mean, sensitivity, specificity) -> None:
    scores = overlap_scores(confusion_counts(np.full((4, 4), float(pred)), np.full((4, 4), label)))
    expected = {"dice": dice, "iou": iou, "iou_mean": iou_mean, "sensitivity": sensitivity, "specificity": specificity}
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, nan_ok=True), name


def test_pooled_scores_are_scores_of_all_pixels_together() -> None:
    pairs = [smooth_pair(seed, share=share) for seed, share in enumerate((0.02, 0.3, 0.6))]
    pooled = overlap_scores(sum(confusion_counts(*pair) for pair in pairs))
    predicted = np.concatenate([(prob >= 0.5).ravel() for prob, _ in pairs])
    truth = np.concatenate([label.ravel() for _, label in pairs])
    assert pooled["dice"] == pytest.approx(f1_score(truth, predicted))
    mean = np.mean([overlap_scores(confusion_counts(*pair))["dice"] for pair in pairs])
    assert abs(pooled["dice"] - mean) > 0.01  # pooled is another figure than the mean over images


def test_leading_axes() -> None:
    counts = np.arange(24).reshape(2, 3, 4)
    scores = overlap_scores(counts)
    assert scores["dice"].shape == (2, 3)
    assert scores["accuracy"][1, 2] == pytest.approx(overlap_scores(counts[1, 2])["accuracy"])
    with pytest.raises(ValueError, match="length 4"):
        overlap_scores(np.zeros(3))


BAD = [
    (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), r"shape \(1, H, W\)"),
    (np.zeros((4, 4)), np.zeros((4, 5)), "same size"),
    (np.zeros((0, 4)), np.zeros((0, 4)), "at least one pixel"),
    (np.full((4, 4), np.nan), np.zeros((4, 4)), "not finite"),
    (np.full((4, 4), 3.0), np.zeros((4, 4)), "sigmoid"),
    (np.full((4, 4), -0.1), np.zeros((4, 4)), "sigmoid"),
    (np.zeros((4, 4)), np.full((4, 4), 255), "threshold the mask"),
    (np.zeros((4, 4)), np.full((4, 4), 0.7), "threshold the mask"),
]


@pytest.mark.parametrize(("prob", "label", "message"), BAD)
def test_bad_input_is_named(prob, label, message) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_counts(prob, label)
