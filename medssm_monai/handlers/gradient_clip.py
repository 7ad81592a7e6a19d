"""Gradient clipping for MONAI's trainers."""

from __future__ import annotations

import torch
from monai.engines import IterationEvents, SupervisedTrainer

from .events import optimizer_stepped

__all__ = ["GradientClip"]


class GradientClip:
    """Clip the norm of all gradients before each optimizer step of a ``monai.engines.SupervisedTrainer``.

    With mixed precision the gradients are unscaled first; with gradient accumulation only the accumulated gradient,
    just before its step, is clipped.

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
        """Clip, if an optimizer step follows."""
        if not optimizer_stepped(engine):
            return
        if engine.scaler is not None:
            engine.scaler.unscale_(engine.optimizer)
        torch.nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_norm)
