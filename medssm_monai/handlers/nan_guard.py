"""Stop training at the first loss that is not finite, before it reaches the weights, and say what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils import CommonKeys

from ..engines.batch_items import batch_files
from .events import loss_of

__all__ = ["NaNGuard", "NonFiniteLossError"]

KEYS = (CommonKeys.IMAGE, CommonKeys.LABEL)
CHECKPOINTS_STAY = "Checkpoints already written stay; training can resume from the last one."
_MAX_FILES = 16


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient became NaN or infinite; the message names epoch, iteration, files, the likely cause and
    the remedy."""


def _non_finite_samples(value: Any) -> list[int]:
    """Positions along the batch axis at which a float tensor holds NaN or infinity."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.ndim == 0:
        return []
    finite = torch.isfinite(value.detach()).flatten(1).all(dim=1) if value.ndim > 1 else torch.isfinite(value.detach())
    return torch.nonzero(~finite).flatten().tolist()


def _non_finite_parameters(network: torch.nn.Module | None) -> list[str]:
    if network is None:
        return []
    return [name for name, value in network.named_parameters() if not torch.isfinite(value.detach()).all()]


def files_at_hand(engine: Engine, keys: Sequence[str] = KEYS) -> str:
    """The sentence of a message that names the files of the batch at hand."""
    files = batch_files(engine.state.batch, keys)
    shown = ", ".join(files[:_MAX_FILES]) + (", ..." if len(files) > _MAX_FILES else "")
    known = shown or "unknown (the data was not read from files)"
    return f"Files of this batch: {known}."


def remedy_of(engine: Engine, or_else: str = "") -> str:
    """What to do about values that are not finite, with the learning rate and the precision at hand."""
    optimizer = getattr(engine, "optimizer", None)
    rate = f" (now {optimizer.param_groups[0]['lr']:.3g})" if optimizer is not None else ""
    inferer = getattr(engine, "inferer", None)
    reduced = getattr(engine, "amp", False) or getattr(inferer, "precision", "float32") != "float32"
    full = "; train with precision float32" if reduced else ""
    return f"Remedy: lower the learning rate{rate}{or_else}{full}."


class NaNGuard:
    """Ignite handler for a MONAI trainer: raises ``NonFiniteLossError`` at the first loss that is not finite.

    It runs when the loss is there and before the backward pass (``IterationEvents.LOSS_COMPLETED``), so that the step
    never reaches the weights and a checkpoint saved on the way out is not spoiled. Checkpoints, tables and tracked
    runs already written stay as they are. The check costs one host synchronization per iteration.

    Args:
        keys: entries of the batch that are searched for values that are not finite, and asked for file names.
    """

    def __init__(self, keys: Sequence[str] = KEYS) -> None:
        self.keys = tuple(keys)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; one that does not announce its loss is checked when the iteration is complete."""
        announces = isinstance(engine, SupervisedTrainer)
        event = IterationEvents.LOSS_COMPLETED if announces else Events.ITERATION_COMPLETED
        engine.add_event_handler(event, self)

    def __call__(self, engine: Engine) -> None:
        """Check the loss of the current iteration."""
        loss = loss_of(engine.state.output)
        if loss is None:
            return
        value = torch.as_tensor(loss).detach()
        if not torch.isfinite(value).all():
            raise NonFiniteLossError(self._message(engine, value))

    def _message(self, engine: Engine, loss: torch.Tensor) -> str:
        state = engine.state
        batch: Mapping[str, Any] = state.batch if isinstance(state.batch, Mapping) else {}
        files = batch_files(state.batch, self.keys)
        bad_inputs = {key: rows for key in self.keys if (rows := _non_finite_samples(batch.get(key)))}
        bad_weights = _non_finite_parameters(getattr(engine, "network", None))
        lines = [
            f"the loss is {loss.flatten()[0].item()} at epoch {state.epoch}, iteration {state.iteration}.",
            files_at_hand(engine, self.keys),
        ]
        if bad_inputs:
            named = [
                f"{key} of {files[row] if row < len(files) else f'sample {row}'}"
                for key, rows in bad_inputs.items()
                for row in rows
            ]
            lines.append(f"Values that are not finite came in with: {', '.join(named)}.")
            lines.append("Remedy: check these images and the intensity transforms, or remove the files from the list.")
        else:
            source = f"weights ({', '.join(bad_weights[:4])})" if bad_weights else "the network's output or the loss"
            lines.append(f"All inputs are finite; the values come from {source}.")
            lines.append(remedy_of(engine, ", or clip gradients"))
        lines.append(CHECKPOINTS_STAY)
        return " ".join(lines)
