"""Classification metrics against hand-counted figures and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from medssm_monai.metrics import (
    CLASSIFICATION_METRICS,
    PER_CLASS_METRICS,
    bootstrap_classification,
    bootstrap_interval,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)
from medssm_monai.metrics.bootstrap import weighted_areas
from medssm_monai.metrics.classification import undefined_metrics

# Eight samples of three classes: predictions 0 0 0 1 1 1 2 0, labels 0 0 1 1 1 2 2 2.
HAND_PROB = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.5, 0.4, 0.1],
        [0.2, 0.7, 0.1],
        [0.1, 0.8, 0.1],
        [0.1, 0.5, 0.4],
        [0.1, 0.2, 0.7],
        [0.5, 0.2, 0.3],
    ]
)
HAND_LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 2])


def samples(n: int, k: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that carry information about unequally frequent labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, size=n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    logits = rng.normal(size=(n, k)) + 1.2 * np.eye(k)[labels]
    if ties:
        logits = np.round(logits)
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), labels


def test_counted_by_hand() -> None:
    assert confusion_matrix(HAND_PROB, HAND_LABELS).tolist() == [[2, 0, 0], [1, 2, 0], [1, 1, 1]]
    table = per_class_metrics(HAND_PROB, HAND_LABELS)
    assert table["support"].tolist() == [2, 3, 3]
    assert table["precision"] == pytest.approx([2 / 4, 2 / 3, 1])
    assert table["sensitivity"] == pytest.approx([1, 2 / 3, 1 / 3])
    assert table["specificity"] == pytest.approx([4 / 6, 4 / 5, 1])
    assert table["f1"] == pytest.approx([4 / 6, 4 / 6, 2 / 4])
    # Class 2 scores: positives 0.4 0.7 0.3, negatives all 0.1: every pair in order.
    assert table["roc_auc"][2] == 1 and table["pr_auc"][2] == 1
    # Class 0: positives 0.8 0.6; negatives 0.5 0.2 0.1 0.1 0.1 0.5.
    assert table["roc_auc"][0] == 1
    scores = classification_metrics(HAND_PROB, HAND_LABELS)
    assert scores["accuracy"] == pytest.approx(5 / 8)
    assert scores["balanced_accuracy"] == scores["sensitivity_macro"] == pytest.approx(2 / 3)
    assert scores["sensitivity_weighted"] == pytest.approx(5 / 8)
    assert scores["specificity_weighted"] == pytest.approx((2 * 4 / 6 + 3 * 4 / 5 + 3) / 8)
    assert scores["precision_weighted"] == pytest.approx((2 * 2 / 4 + 3 * 2 / 3 + 3) / 8)


@pytest.mark.parametrize("k", [2, 3, 8])
@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_scikit_learn(k: int, ties: bool) -> None:
    prob, labels = samples(300, k, ties=ties)
    scores, predicted = classification_metrics(prob, labels), prob.argmax(axis=1)
    assert tuple(scores) == CLASSIFICATION_METRICS
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    for average in ("macro", "weighted"):
        for name, function in (
            ("precision", sk.precision_score),
            ("sensitivity", sk.recall_score),
            ("f1", sk.f1_score),
        ):
            expected = function(labels, predicted, average=average, zero_division=0)
            assert scores[f"{name}_{average}"] == pytest.approx(expected), (name, average)
    one_hot = np.eye(k)[labels]
    if k == 2:
        assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, prob[:, 1]))
        assert scores["pr_auc"] == pytest.approx(sk.average_precision_score(labels, prob[:, 1]))
    else:
        assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, prob, multi_class="ovr", average="macro"))
        assert scores["pr_auc"] == pytest.approx(sk.average_precision_score(one_hot, prob, average="macro"))
    specificity = [sk.recall_score(labels != c, predicted != c) for c in range(k)]
    assert scores["specificity_macro"] == pytest.approx(np.mean(specificity))


@pytest.mark.parametrize("as_type", [np.asarray, torch.as_tensor, lambda x: torch.as_tensor(x)[:, None]])
def test_labels_and_probabilities_of_any_kind(as_type) -> None:
    prob, labels = samples(50, 3)
    assert classification_metrics(torch.as_tensor(prob), as_type(labels)) == classification_metrics(prob, labels)


def test_absent_class_is_undefined_and_left_out_of_averages() -> None:
    prob, labels = samples(200, 4)
    keep = labels != 2
    prob, labels = prob[keep], labels[keep]
    table, scores = per_class_metrics(prob, labels), classification_metrics(prob, labels)
    for name in ("precision", "sensitivity", "f1", "roc_auc", "pr_auc"):
        assert np.isnan(table[name][2]) and np.isfinite(np.delete(table[name], 2)).all()
    assert table["specificity"][2] == pytest.approx(np.mean(prob.argmax(axis=1) != 2))
    present = [0, 1, 3]
    assert scores["f1_macro"] == pytest.approx(
        sk.f1_score(labels, prob.argmax(axis=1), labels=present, average="macro")
    )
    assert scores["roc_auc"] == pytest.approx(np.mean([sk.roc_auc_score(labels == c, prob[:, c]) for c in present]))
    assert scores["specificity_macro"] == pytest.approx(table["specificity"][present].mean())
    (reason,) = undefined_metrics(labels, ["a", "b", "c", "d"])
    assert "no sample of c" in reason
    assert undefined_metrics([0, 1, 2, 3], ["a", "b", "c", "d"]) == []


@pytest.mark.parametrize(("only", "pr_defined"), [(0, False), (1, True)])
def test_one_class_alone_gives_reasons_and_no_crash(only: int, pr_defined: bool) -> None:
    prob, _ = samples(30, 2)
    labels = np.full(30, only)
    scores = classification_metrics(prob, labels)
    assert np.isnan(scores["roc_auc"]) and np.isnan(scores["specificity_macro"])
    assert np.isfinite(scores["pr_auc"]) == pr_defined
    assert scores["accuracy"] == pytest.approx(np.mean(prob.argmax(axis=1) == only))
    reasons = " ".join(undefined_metrics(labels, ["normal", "ill"]))
    assert f"all samples are {['normal', 'ill'][only]}" in reasons
    assert np.isnan(bootstrap_classification(prob, labels, n_resamples=50)["roc_auc"].low)


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_areas_agree_with_scikit_learn(ties: bool) -> None:
    prob, labels = samples(80, 2, ties=ties)
    weights = np.random.default_rng(1).integers(0, 4, size=(20, 80))
    roc, pr = weighted_areas(prob[:, 1], labels == 1, weights)
    for row, weight in enumerate(weights):
        assert roc[row] == pytest.approx(sk.roc_auc_score(labels, prob[:, 1], sample_weight=weight))
        assert pr[row] == pytest.approx(sk.average_precision_score(labels, prob[:, 1], sample_weight=weight))


@pytest.mark.parametrize("k", [2, 4])
def test_intervals_are_those_of_resampling_by_hand(k: int) -> None:
    prob, labels = samples(60, k)
    intervals = bootstrap_classification(prob, labels, n_resamples=40, seed=5)
    draws = np.random.default_rng(5).integers(60, size=(40, 60))
    resampled = [classification_metrics(prob[draw], labels[draw]) for draw in draws]
    tables = [per_class_metrics(prob[draw], labels[draw]) for draw in draws]
    estimate, table = classification_metrics(prob, labels), per_class_metrics(prob, labels)
    for name in CLASSIFICATION_METRICS:
        assert intervals[name].estimate == pytest.approx(estimate[name]), name
        expected = np.nanquantile([scores[name] for scores in resampled], [0.025, 0.975])
        assert intervals[name][1:] == pytest.approx(tuple(expected)), name
    for name in PER_CLASS_METRICS:
        for number in range(k):
            assert intervals[name, number].estimate == pytest.approx(table[name][number])
            expected = np.nanquantile([row[name][number] for row in tables], [0.025, 0.975])
            assert intervals[name, number][1:] == pytest.approx(tuple(expected)), (name, number)


def test_groups_are_drawn_whole() -> None:
    prob, labels = samples(90, 3)
    right = (prob.argmax(axis=1) == labels).astype(float)
    groups = np.random.default_rng(2).integers(20, size=90).tolist()
    ours = bootstrap_classification(prob, labels, n_resamples=300, groups=groups)["accuracy"]
    assert ours == pytest.approx(bootstrap_interval(right, n_resamples=300, groups=groups))
    with pytest.raises(ValueError, match="groups has 2"):
        bootstrap_classification(prob, labels, groups=[1, 2])


GOOD = [[0.4, 0.6], [0.9, 0.1]]
BAD = [
    (GOOD, [0, 2], "whole numbers from 0 to 1"),
    (GOOD, [0, -1], "whole numbers from 0 to 1"),
    (GOOD, [0, 0.5], "whole numbers"),
    (GOOD, [0, np.nan], "whole numbers"),
    (GOOD, [0], "one label per sample"),
    (GOOD, [[0, 1], [1, 0]], "one-hot"),
    ([[0.4, np.nan], [0.9, 0.1]], [0, 1], "not finite"),
    ([[2.0, -3.0], [0.9, 0.1]], [0, 1], "softmax"),
    ([[0.2, 0.2], [0.9, 0.1]], [0, 1], "sum to 1"),
    ([[0.4], [0.9]], [0, 1], "two columns"),
    ([0.4, 0.9], [0, 1], r"\(N, K\)"),
    (np.zeros((0, 2)), [], "no samples"),
]


@pytest.mark.parametrize(("probabilities", "labels", "message"), BAD)
@pytest.mark.parametrize("function", [classification_metrics, per_class_metrics, confusion_matrix])
def test_bad_input(function, probabilities, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        function(probabilities, labels)
