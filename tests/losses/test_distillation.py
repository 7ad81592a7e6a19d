"""The loss with a teacher, against sums written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.losses import DeepSupervisionLoss, DiceCELoss

from medssm_monai.losses import DistillationLoss


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.fixture
def logits():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)), rng.normal(size=(5, 3))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_classes(logits, weight, temperature):
    student, teacher = logits
    label = torch.tensor([0, 1, 2, 2, 0])
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    divergence = (p * np.log(p / q)).sum(1).mean()
    task = -np.log(softmax(student)[range(5), label]).mean()
    loss = DistillationLoss(nn.CrossEntropyLoss(), weight, temperature)
    found = loss(torch.tensor(student), label, torch.tensor(teacher))
    assert float(found) == pytest.approx((1 - weight) * task + weight * temperature**2 * divergence, rel=1e-5)


def test_masks():
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(size=(2, 2, 1, 4, 4))
    label = (rng.random((2, 1, 4, 4)) > 0.5).astype(float)
    p, q = 1 / (1 + np.exp(-teacher)), 1 / (1 + np.exp(-student))
    distance = -(p * np.log(q) + (1 - p) * np.log(1 - q)).mean()
    task = -(label * np.log(q) + (1 - label) * np.log(1 - q)).mean()
    loss = DistillationLoss(nn.BCEWithLogitsLoss(), 0.4, temperature=1.0, sigmoid=True)
    found = loss(*map(torch.tensor, (student, label, teacher)))
    assert float(found) == pytest.approx(0.6 * task + 0.4 * distance, rel=1e-5)


def test_the_gradient_reaches_the_student_alone_and_vanishes_at_the_teacher(logits):
    student, teacher = (torch.tensor(x, requires_grad=True) for x in logits)
    loss = DistillationLoss(nn.CrossEntropyLoss(), 1.0)
    loss(student, torch.zeros(5, dtype=torch.long), teacher).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None
    same = teacher.detach().clone().requires_grad_()
    loss(same, torch.zeros(5, dtype=torch.long), teacher).backward()
    assert same.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("options", "match"),
    [({"weight": 1.1}, "weight must be from 0 to 1, got 1.1"), ({"temperature": 0}, "temperature must be positive")],
)
def test_values_outside_their_range(options, match):
    with pytest.raises(ValueError, match=match):
        DistillationLoss(nn.CrossEntropyLoss(), **options)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"predicts \(2, 3\), its teacher \(2, 4\)"):
        DistillationLoss(nn.CrossEntropyLoss())(torch.rand(2, 3), torch.tensor([0, 1]), torch.rand(2, 4))


def test_of_several_predictions_the_first_is_compared_with_the_teacher():
    pred, teacher = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    label, small = (torch.rand(2, 1, 8, 8) > 0.5).float(), torch.randn(2, 1, 4, 4)
    labels = DeepSupervisionLoss(DiceCELoss(sigmoid=True))
    loss = DistillationLoss(labels, weight=0.4, temperature=1.0, sigmoid=True)
    expected = 0.6 * labels([pred, small], label)
    expected = expected + 0.4 * F.binary_cross_entropy_with_logits(pred, teacher.sigmoid())
    torch.testing.assert_close(loss([pred, small], label, teacher), expected)
