"""The figure that chooses a checkpoint, batch by batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medssm_monai.metrics.classification import ClassificationMetric


@pytest.fixture
def samples():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(2), 50).astype(np.float32)
    return torch.from_numpy(probabilities), torch.from_numpy((generator.random(50) < probabilities[:, 1]).astype(int))


@pytest.mark.parametrize("decollated", [False, True])
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("roc_auc", lambda p, y: roc_auc_score(y, p[:, 1])),
        ("balanced_accuracy", lambda p, y: balanced_accuracy_score(y, p.argmax(1))),
    ],
)
def test_batches_add_up_to_the_figure_of_all_samples(samples, name, oracle, decollated):
    metric = ClassificationMetric(name)
    for _ in range(2):  # the second time after a reset
        for start in range(0, 50, 16):
            batch = [tensor[start : start + 16] for tensor in samples]
            metric(*(list(tensor) if decollated else tensor for tensor in batch))
        assert metric.aggregate() == pytest.approx(oracle(*(tensor.numpy() for tensor in samples)), abs=1e-6)
        metric.reset()


@pytest.mark.parametrize("name", ["auc", "ece"])
def test_names_no_checkpoint_is_chosen_by(name):
    with pytest.raises(ValueError, match=f"roc_auc.*got '{name}'"):
        ClassificationMetric(name)


def test_undefined_figure_says_which_classes_there_were(samples):
    metric = ClassificationMetric("roc_auc")
    metric(samples[0], torch.zeros(50, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels \[0\] only.*every class"):
        metric.aggregate()
