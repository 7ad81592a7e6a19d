from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import IgniteMetricHandler, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose
from monai.utils import set_determinism

from medssm_monai.metrics import ClassificationMetric
from medssm_monai.transforms import AreaCutMixd, PrepareBatchTransform

CLASSES = 3


@pytest.fixture(autouse=True)
def seeded():
    set_determinism(0)
    yield
    set_determinism(None)


def prepare(prob):
    return PrepareBatchTransform([AreaCutMixd("image", "label", CLASSES, prob=prob)])


def batch(size=6):
    return {"image": torch.rand(size, 1, 12, 10), "label": torch.arange(size) % CLASSES}


def test_loss_of_a_mixed_batch_is_the_mixture_of_the_losses_of_both_labels():
    data, logits, weight = batch(), torch.randn(6, CLASSES), torch.tensor([0.5, 1.0, 2.0])
    images, labels = prepare(1.0)(data, "cpu")
    assert not torch.equal(images, data["image"]) and torch.equal(data["label"], torch.arange(6) % CLASSES)
    for arguments in ({}, {"label_smoothing": 0.1}, {"weight": weight, "label_smoothing": 0.1}):
        of_class = torch.stack(
            [F.cross_entropy(logits, torch.full((6,), k), reduction="none", **arguments) for k in range(CLASSES)], 1
        )
        torch.testing.assert_close(F.cross_entropy(logits, labels, **arguments), (labels * of_class).sum(1).mean())


def test_without_mixing_the_loss_is_that_of_class_numbers():
    data, logits = batch(), torch.randn(6, CLASSES)
    images, labels = prepare(0.0)(data, "cpu")
    assert torch.equal(images, data["image"]) and labels.shape == (6, CLASSES)
    torch.testing.assert_close(F.cross_entropy(logits, labels), F.cross_entropy(logits, data["label"]))


def test_one_image_is_its_own_partner():
    data = batch(1)
    images, labels = prepare(1.0)(data, "cpu")
    assert torch.equal(images, data["image"]) and labels.tolist() == [[1.0, 0.0, 0.0]]


def test_the_seed_of_the_run_decides():
    data, runs = batch(), []
    for seed in (0, 0, 1):
        set_determinism(seed)
        made = prepare(0.5)
        runs.append(torch.cat([made(data, "cpu")[0] for _ in range(4)]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_training_accuracy_counts_the_class_with_the_larger_area():
    data = [{"image": torch.rand(1, 8, 8), "label": i % CLASSES} for i in range(12)]
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, CLASSES))
    trainer = SupervisedTrainer(
        "cpu",
        1,
        DataLoader(Dataset(data), batch_size=4),
        network,
        torch.optim.SGD(network.parameters(), lr=0.1),
        torch.nn.CrossEntropyLoss(label_smoothing=0.1),
        prepare_batch=prepare(1.0),
        postprocessing=Compose([Activationsd("pred", softmax=True), AsDiscreted("label", argmax=True)]),
        key_train_metric={
            "train_accuracy": IgniteMetricHandler(
                metric_fn=ClassificationMetric("accuracy"), output_transform=from_engine(["pred", "label"])
            )
        },
    )
    right = []

    def note(engine):
        right.extend(int(item["pred"].argmax()) == int(item["label"]) for item in engine.state.output)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    assert len(right) == 12
    assert trainer.state.metrics["train_accuracy"] == pytest.approx(sum(right) / 12)


@pytest.mark.parametrize("wrong", [{"image": torch.rand(2, 1, 4, 4)}, torch.rand(2, 1, 4, 4)], ids=["no label", "bare"])
def test_other_batches_are_refused(wrong):
    with pytest.raises(ValueError, match="dict with 'image' and 'label'"):
        prepare(0.5)(wrong)
