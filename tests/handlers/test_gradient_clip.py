from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer

from medssm_monai.handlers import GradientClip, NonFiniteLossError


def _norms(batches: int, accumulation_steps: int, max_norm: float) -> list[float]:
    """Gradient norms that the optimizer saw, one per step."""
    net = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(net.weight.grad.norm().item()))
    data = [{"image": torch.full((1, 1), 3.0), "label": torch.zeros(1, 1)} for _ in range(batches)]
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=data,
        network=net,
        optimizer=optimizer,
        loss_function=lambda pred, label: 10 * pred.sum(),
        train_handlers=[GradientClip(max_norm)],
        accumulation_steps=accumulation_steps,
        decollate=False,
    )
    trainer.run()
    return seen


@pytest.mark.parametrize(("batches", "accumulation_steps", "steps"), [(3, 1, 3), (4, 2, 2), (5, 2, 3)])
def test_every_step_sees_a_clipped_gradient(batches, accumulation_steps, steps):
    norms = _norms(batches, accumulation_steps, max_norm=1.5)
    assert norms == pytest.approx([1.5] * steps, rel=1e-4)


def test_accumulated_gradients_are_clipped_once_as_a_whole():
    """Gradient 30 per batch, 15 after division by the two accumulation steps: 30 together, below the limit of 31."""
    norms = _norms(4, 2, max_norm=31.0)
    assert norms == pytest.approx([30.0, 30.0])


@pytest.mark.parametrize("max_norm", [0, -1.0, float("nan")])
def test_bad_norm_is_named(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        GradientClip(max_norm)


class BrokenGradient(torch.autograd.Function):
    """The sum of a tensor, whose gradient is something else."""

    @staticmethod
    def forward(ctx, x, value):
        ctx.value, ctx.shape = value, x.shape
        return x.sum()

    @staticmethod
    def backward(ctx, grad):
        return torch.full(ctx.shape, ctx.value), None


def run_one(net: torch.nn.Module, loss) -> None:
    SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(1, 1), "label": torch.zeros(1, 1)}],
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        loss_function=lambda pred, label: loss(pred),
        train_handlers=[GradientClip()],
        decollate=False,
    ).run()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(value):
    """Met with an operator that read memory which nothing wrote: the loss was finite, and then all weights were NaN."""
    net = torch.nn.Linear(1, 1)
    before = net.weight.detach().clone()
    net.bias.requires_grad_(False)
    message = r"gradient of weight is not finite, .* epoch 1, iteration 1\. Files .* learning rate \(now 0\.1\)"
    with pytest.raises(NonFiniteLossError, match=message):
        run_one(net, lambda pred: BrokenGradient.apply(pred, value))
    assert torch.equal(net.weight, before)


def test_finite_gradients_whose_norm_overflows_are_no_error():
    net = torch.nn.Linear(1, 1, bias=False)
    run_one(net, lambda pred: 1e30 * pred.sum())
    assert torch.isfinite(net.weight).all()
