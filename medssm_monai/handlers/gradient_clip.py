"""Gradient clipping for MONAI's trainers."""

from __future__ import annotations

import torch
from monai.engines import IterationEvents, SupervisedTrainer

from .events import optimizer_stepped
from .nan_guard import CHECKPOINTS_STAY, NonFiniteLossError, files_at_hand, remedy_of

__all__ = ["GradientClip"]


class GradientClip:
    """Clip the norm of all gradients before each optimizer step of a ``monai.engines.SupervisedTrainer``.

    With mixed precision the gradients are unscaled first; with gradient accumulation only the accumulated gradient,
    just before its step, is clipped.

    A gradient that is not finite has no norm to clip to and would make every weight NaN, though the loss was finite: it
    ends the training before the step. Not with a gradient scaler (float16), which leaves such steps out by itself.

    Args:
        max_norm: largest L2 norm over all parameters, positive.

    Raises:
        ValueError: when ``max_norm`` is not positive.
    """

    def __init__(self, max_norm: float = 1.0) -> None:
        if not max_norm > 0:
            raise ValueError(f"max_norm must be positive, got {max_norm}.")
        self.max_norm = max_norm

    def attach(self, engine: SupervisedTrainer) -> None:
        """Attach to a trainer with ``network``, ``optimizer`` and ``scaler``."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Clip, if an optimizer step follows.

        Raises:
            NonFiniteLossError: naming parameters whose gradient is not finite, and the files of the batch.
        """
        if not optimizer_stepped(engine):
            return
        if engine.scaler is not None:
            engine.scaler.unscale_(engine.optimizer)
        parameters = list(engine.network.parameters())
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if engine.scaler is None and not torch.isfinite(norm):
            self._require_finite(engine)
        torch.nn.utils.clip_grads_with_norm_(parameters, self.max_norm, norm)

    @staticmethod
    def _require_finite(engine: SupervisedTrainer) -> None:
        named = ((name, p.grad) for name, p in engine.network.named_parameters() if p.grad is not None)
        broken = [name for name, gradient in named if not torch.isfinite(gradient).all()]
        if broken:
            names = ", ".join(broken[:4]) + (", ..." if len(broken) > 4 else "")
            raise NonFiniteLossError(
                f"the gradient of {names} is not finite, though the loss is, at epoch {engine.state.epoch}, iteration "
                f"{engine.state.iteration}. {files_at_hand(engine)} {remedy_of(engine)} {CHECKPOINTS_STAY}"
            )
