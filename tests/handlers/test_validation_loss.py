from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.losses import DiceCELoss
from monai.transforms import Activationsd, Compose

from medssm_monai.handlers import ValidationLoss


def evaluate(items, loss: ValidationLoss, network: torch.nn.Module, batch_size: int) -> SupervisedEvaluator:
    engine = SupervisedEvaluator(
        "cpu",
        DataLoader(Dataset(items), batch_size=batch_size),
        network,
        postprocessing=Compose([Activationsd("pred", sigmoid=True)]),  # must not reach the loss
        key_val_metric={"val_first": ValidationLoss(lambda pred, label: pred.mean() * 0 + 7.0)},
        additional_metrics={"val_loss": loss},
    )
    engine.run()
    return engine


def masks(count: int = 5):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(1, 8, 8, generator=generator),
            "label": (torch.rand(1, 8, 8, generator=generator) > 0.6).float(),
        }
        for _ in range(count)
    ]


def classes(labels=(0, 0, 0, 2, 2, 1, 1)):
    generator = torch.Generator().manual_seed(1)
    return [{"image": torch.randn(3, generator=generator), "label": torch.tensor(number)} for number in labels]


def as_arrays(items):
    return torch.stack([item["image"] for item in items]), torch.stack([item["label"] for item in items])


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_mean_over_the_images_of_the_raw_output(batch_size: int) -> None:
    items, loss = masks(), DiceCELoss(sigmoid=True)
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    engine = evaluate(items, ValidationLoss(loss), network, batch_size)
    with torch.no_grad():
        singles = [float(loss(network(item["image"][None]), item["label"][None])) for item in items]
    assert engine.state.metrics["val_loss"] == pytest.approx(sum(singles) / len(singles), rel=1e-6)
    assert engine.state.key_metric_name == "val_first" and engine.state.best_metric == pytest.approx(7.0)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_class_weights_count_among_all_images(batch_size: int) -> None:
    items, weight = classes(), torch.tensor([0.5, 1.0, 4.0])
    network = torch.nn.Linear(3, 3)
    loss = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=0.0)
    engine = evaluate(items, ValidationLoss(loss, at_once=True), network, batch_size)
    images, labels = as_arrays(items)
    with torch.no_grad():
        nll = -torch.log_softmax(network(images), 1)[range(len(labels)), labels]
    expected = float((weight[labels] * nll).sum() / weight[labels].sum())
    assert engine.state.metrics["val_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch_size", [2, 7])
def test_class_numbers_as_probabilities(batch_size: int) -> None:
    """With probabilities for labels, PyTorch divides by the number of images and not by the sum of the weights."""
    items, weight = classes(), torch.tensor([0.5, 1.0, 4.0])
    network = torch.nn.Linear(3, 3)
    loss = torch.nn.CrossEntropyLoss(weight=weight)
    engine = evaluate(items, ValidationLoss(loss, num_classes=3), network, batch_size)
    images, labels = as_arrays(items)
    with torch.no_grad():
        nll = -torch.log_softmax(network(images), 1)[range(len(labels)), labels]
    assert engine.state.metrics["val_loss"] == pytest.approx(float((weight[labels] * nll).mean()), rel=1e-6)


def test_every_evaluation_starts_afresh_and_draws_no_random_numbers() -> None:
    items, network = masks(), torch.nn.Conv2d(1, 1, 1)
    engine = evaluate(items, ValidationLoss(DiceCELoss(sigmoid=True)), network, 2)
    first = engine.state.metrics["val_loss"]
    state = torch.get_rng_state()
    loss = ValidationLoss(DiceCELoss(sigmoid=True))
    loss.reset()
    loss.update((torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)))
    loss.compute()
    assert torch.equal(torch.get_rng_state(), state)
    engine.run()
    assert engine.state.metrics["val_loss"] == first


def test_what_is_no_loss_is_named() -> None:
    network = torch.nn.Conv2d(1, 1, 1)
    with pytest.raises(ValueError, match="needs labels"):
        evaluate([{"image": item["image"]} for item in masks(1)], ValidationLoss(DiceCELoss()), network, 1)
    with pytest.raises(ValueError, match=r"one number, got shape \(1, 1, 8, 8\)"):
        evaluate(masks(1), ValidationLoss(torch.nn.L1Loss(reduction="none")), network, 1)
