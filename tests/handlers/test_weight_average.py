"""The average of the weights: its arithmetic, who uses it, and that it goes on after an interruption."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch import nn

from medssm_monai.handlers import BestModel, WeightAverage

ITEMS = [{"image": torch.full((1, 3), float(i)), "label": torch.tensor([float(i % 2)])} for i in range(10)]


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    network.register_buffer("count", torch.tensor([5, 7]))
    network[3].bias.requires_grad_(False)
    return network


def make(decay, accumulation_steps=1, epochs=3, network=None, handlers=()):
    """Trainer, evaluator, average, and what every step left."""
    network = small_network() if network is None else network
    average = WeightAverage(network, decay)
    evaluator = SupervisedEvaluator(
        "cpu", DataLoader(Dataset(ITEMS), batch_size=5), network, val_handlers=[average, *handlers]
    )
    trainer = SupervisedTrainer(
        "cpu",
        epochs,
        DataLoader(Dataset(ITEMS), batch_size=2),
        network,
        torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.05),
        nn.BCEWithLogitsLoss(),
        train_handlers=[average],
        accumulation_steps=accumulation_steps,
    )
    states = [copy.deepcopy(network.state_dict())]
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: states.append(copy.deepcopy(network.state_dict()))
    )
    return trainer, evaluator, average, states


def weights_of(average):
    return {k.removeprefix("module."): v.clone() for k, v in average.state_dict().items() if k.startswith("module.")}


def by_hand(states, decay):
    """The recurrence in float64, state by state."""
    mean = {name: value.double() for name, value in states[0].items()}
    for n, state in enumerate(states[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        for name, value in state.items():
            mean[name] = d * mean[name] + (1 - d) * value.double() if value.is_floating_point() else value.double()
    return mean


@pytest.mark.parametrize("decay", [0.999, 0.5, 0.15])
def test_the_average_is_the_recurrence_of_its_definition(decay):
    trainer, _, average, states = make(decay)
    trainer.run()
    assert len(states) == 16
    found, expected = weights_of(average), by_hand(states, decay)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert found["count"].tolist() == [5, 7] and found["2.num_batches_tracked"] == 15
    assert torch.equal(found["3.bias"], states[0]["3.bias"])  # frozen
    assert not torch.equal(found["1.weight"], states[-1]["1.weight"])


def test_steps_count_and_not_batches():
    """Five batches of two accumulate to steps after the second, the fourth and the last one of each epoch."""
    trainer, _, average, states = make(0.999, accumulation_steps=2, epochs=2)
    trainer.run()
    stepped = [states[i] for i in (0, 2, 4, 5, 7, 9, 10)]
    for name, value in by_hand(stepped, 0.999).items():
        torch.testing.assert_close(weights_of(average)[name].double(), value, rtol=1e-5, atol=1e-6)


def test_an_evaluation_has_the_average_and_the_training_its_own(tmp_path):
    network = small_network()
    best = BestModel(tmp_path, network, {"variant": "small"})
    trainer, evaluator, average, _ = make(0.9, network=network, handlers=[best])
    trainer.run()
    raw, mean = copy.deepcopy(network.state_dict()), weights_of(average)
    seen = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output))
    evaluator.run()
    oracle = copy.deepcopy(network)
    oracle.load_state_dict(mean)
    images = torch.stack([item["image"] for item in ITEMS[5:]])
    with torch.no_grad():
        expected, other = oracle.eval()(images), network.eval()(images)
    pred = torch.stack([item["pred"] for item in seen[-1]])
    torch.testing.assert_close(pred, expected)
    assert not torch.allclose(pred, other, rtol=1e-3)
    torch.testing.assert_close(torch.load(tmp_path / "model.pt", weights_only=True), mean, rtol=0, atol=0)
    torch.testing.assert_close(dict(network.state_dict()), dict(raw), rtol=0, atol=0)
    torch.testing.assert_close(weights_of(average), mean, rtol=0, atol=0)


def test_an_evaluation_that_fails_gives_the_weights_back():
    trainer, evaluator, _, states = make(0.9)
    trainer.run()

    def fail(engine):
        raise ArithmeticError("in the middle")

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, fail)
    with pytest.raises(ArithmeticError, match="in the middle"):
        evaluator.run()
    torch.testing.assert_close(dict(trainer.network.state_dict()), dict(states[-1]), rtol=0, atol=0)


def test_an_evaluation_before_any_training_has_the_weights_as_they_are():
    _, evaluator, _, states = make(0.9)
    evaluator.run()
    torch.testing.assert_close(dict(evaluator.network.state_dict()), dict(states[0]), rtol=0, atol=0)


def test_a_new_start_follows_weights_from_outside():
    """As a federated client does it: weights are written between two runs of the trainer."""
    trainer, _, average, states = make(0.999, epochs=1)
    trainer.run()
    received = {name: value + 1 if value.is_floating_point() else value for name, value in states[-1].items()}
    trainer.network.load_state_dict(received)
    del states[:]
    states.append(copy.deepcopy(received))
    trainer.state.max_epochs = 2
    trainer.run()
    for name, value in by_hand(states, 0.999).items():
        torch.testing.assert_close(weights_of(average)[name].double(), value, rtol=1e-5, atol=1e-6)


def test_the_state_goes_on_to_the_bit():
    straight, _, expected, states = make(0.999, epochs=2)
    middle = {}
    straight.add_event_handler(
        Events.EPOCH_COMPLETED(once=1),
        lambda engine: middle.update(average=copy.deepcopy(expected.state_dict()), network=copy.deepcopy(states[-1])),
    )
    straight.run()
    trainer, _, average, _ = make(0.999, epochs=1)
    trainer.network.load_state_dict(middle["network"])
    average.load_state_dict(middle["average"])
    trainer.run()
    torch.testing.assert_close(average.state_dict(), expected.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("decay", [None, False, 0, 0.0])
def test_switched_off_nothing_is_kept(decay):
    trainer, evaluator, average, states = make(decay, epochs=1)
    trainer.run()
    evaluator.run()
    assert not average.active and average.state_dict() == {}
    torch.testing.assert_close(dict(evaluator.network.state_dict()), dict(states[-1]), rtol=0, atol=0)


@pytest.mark.parametrize("decay", [1, 1.5, -0.1, float("nan")])
def test_a_decay_outside_its_range(decay):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        WeightAverage(nn.Linear(1, 1), decay)


@pytest.mark.parametrize(
    ("decay", "state", "match"),
    [
        (0.9, None, "run.pt holds no average.*--ema_decay 0"),
        (0.9, {}, "run.pt holds no average.*--ema_decay 0"),
        (0, {"n_averaged": torch.tensor(1)}, "run.pt holds an average of the weights, and ema_decay is off"),
    ],
)
def test_a_checkpoint_of_the_other_kind_is_refused(decay, state, match):
    with pytest.raises(ValueError, match=match):
        WeightAverage(nn.Linear(1, 1), decay).require_state(state, "run.pt")
