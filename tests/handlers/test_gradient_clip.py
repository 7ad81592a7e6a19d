from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer

from medssm_monai.handlers import GradientClip


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
