"""Class weights by the words of a config."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from medssm_monai.losses import class_weight_tensor


@pytest.mark.parametrize("choice", [None, False])
def test_no_weights(choice):
    assert class_weight_tensor(choice, [1.0, 1.0]) is None


def test_balanced_loss_gives_every_class_the_same_say():
    labels = np.repeat([0, 1, 2], [2, 6, 4])
    balanced = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    weights = class_weight_tensor("balanced", balanced)
    per_class = torch.stack([weights[torch.from_numpy(labels[labels == c])].sum() for c in range(3)])
    assert torch.allclose(per_class, per_class.mean().expand(3))


def test_own_weights_reach_the_loss():
    weights = class_weight_tensor([3, 1], [1.0, 1.0])
    loss = torch.nn.CrossEntropyLoss(weight=weights)(torch.tensor([[0.0, 2.0], [0.0, 2.0]]), torch.tensor([0, 1]))
    wrong, right = np.log1p(np.exp(2.0)), np.log1p(np.exp(-2.0))
    assert loss.item() == pytest.approx((3 * wrong + right) / 4, rel=1e-6)


@pytest.mark.parametrize("choice", [True, "balance", [1.0], [1.0, 2.0, 3.0], [1.0, 0.0], [-1.0, 1.0]])
def test_other_words_and_counts_are_refused(choice):
    with pytest.raises(ValueError, match=r"class_weights.*(per class)"):
        class_weight_tensor(choice, [1.0, 1.0])
