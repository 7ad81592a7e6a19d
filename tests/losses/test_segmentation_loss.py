"""Dice and cross-entropy of classes and regions, against MONAI's losses and sums by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DeepSupervisionLoss, DiceCELoss

from medssm_monai.losses import SegmentationLoss

SHAPES = [(2, 4, 12, 10), (2, 4, 6, 8, 5)]


def _soft_dice(probability, target):
    axes = (0, *range(2, probability.ndim))
    return 1 - (2 * (probability * target).sum(axes) + 1e-5) / (probability.sum(axes) + target.sum(axes) + 1e-5)


def _one_hot(numbers, channels):
    return F.one_hot(numbers[:, 0].long(), channels).movedim(-1, 1).float()


def test_one_class_is_monais_loss_to_the_bit():
    logits, target = torch.randn(2, 1, 9, 7), torch.randint(0, 2, (2, 1, 9, 7)).float()
    assert torch.equal(SegmentationLoss()(logits, target), DiceCELoss(sigmoid=True)(logits, target))


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0]])
def test_classes_that_exclude_each_other(shape, weights):
    torch.manual_seed(0)
    logits, target = torch.randn(shape), torch.randint(0, 4, (2, 1, *shape[2:])).float()
    factors = torch.tensor(weights or [1.0] * 4)
    dice = (_soft_dice(logits.softmax(1), _one_hot(target, 4)) * factors)[1:].mean()
    entropy = F.cross_entropy(logits, target[:, 0].long(), weight=None if weights is None else factors)
    torch.testing.assert_close(SegmentationLoss(4, True, class_weights=weights)(logits, target), dice + entropy)


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
def test_regions_that_overlap(shape):
    torch.manual_seed(0)
    logits, target = torch.randn(shape), torch.randint(0, 2, shape).float()
    expected = _soft_dice(logits.sigmoid(), target).mean() + F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(SegmentationLoss(4)(logits, target), expected)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").movedim(1, -1)
    expected = (_soft_dice(logits.sigmoid(), target) * weights).mean() + (each * weights).sum() / (
        weights.sum() * each[..., 0].numel()
    )
    torch.testing.assert_close(SegmentationLoss(4, class_weights=[1, 2, 3, 4])(logits, target), expected)


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_nobody_labeled_counts_nowhere(softmax, channels):
    """As if the image ended before it."""
    if softmax and channels == 1:
        with pytest.raises(ValueError, match="two channels or more"):
            SegmentationLoss(1, True)
        return
    torch.manual_seed(0)
    loss = SegmentationLoss(channels, softmax, ignore_index=-1)
    logits = torch.randn(2, channels, 8, 6, requires_grad=True)
    high, rows = (channels, 1) if softmax else (2, channels)
    target = torch.randint(0, high, (2, rows, 8, 6)).float()
    target[:, :, 5:] = -1
    found = loss(logits, target)
    torch.testing.assert_close(found, loss(logits[:, :, :5], target[:, :, :5]))
    found.backward()
    assert logits.grad[:, :, 5:].abs().max() == 0 < logits.grad[:, :, :5].abs().max()
    assert torch.isfinite(loss(logits, torch.full_like(target, -1)))


def test_deep_supervision_shrinks_the_numbers_of_classes():
    logits = [torch.randn(1, 3, 16, 16, requires_grad=True), torch.randn(1, 3, 4, 4, requires_grad=True)]
    target = torch.randint(-1, 3, (1, 1, 16, 16)).float()
    DeepSupervisionLoss(SegmentationLoss(3, True, ignore_index=-1))(logits, target).backward()
    assert all(torch.isfinite(one.grad).all() for one in logits)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, 0.0], "ab", True, [1.0, "2"]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match="class_weights needs 2 positive numbers"):
        SegmentationLoss(2, True, class_weights=weights)
