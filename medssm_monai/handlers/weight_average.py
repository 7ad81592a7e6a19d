"""An exponential moving average of the weights, which is what a training validates and keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Trainer
from torch.optim.swa_utils import AveragedModel

from .checkpoints import unwrapped_network
from .events import on_failure, optimizer_stepped

__all__ = ["WeightAverage"]


class WeightAverage:
    """Ignite handler that averages a network's weights over the steps of its training. Attach **one** instance to the
    trainer and to its evaluator, where it comes first.

    After step ``n`` the average is ``d_n * average + (1 - d_n) * weights``, ``d_n = min(decay, (1 + n) / (10 + n))``.
    It spans the last ninth of the steps so far, at most ``1 / (1 - decay)`` of them, and so suits short trainings too.
    Buffers in floating point (the statistics of batch normalizations) are averaged alike, others copied.

    While the evaluator runs, network and average change places: validation, best weights, fitted temperature and report
    are those of the average, whatever else is attached; the trainer goes on with the weights of its own. Steps count,
    not batches, where gradients are accumulated. Every process of a distributed training keeps the same average.

    The average starts at the network's weights each time that the trainer is started, so that it follows weights that
    were written from outside (a federation's, at the beginning of a round); after ``load_state_dict`` it goes on where
    it was.

    Args:
        network: the network; ``DistributedDataParallel`` around it is taken off.
        decay: ``d``, at least 0 and below 1. ``None``, ``False`` and 0 switch the average off: the handler then does
            nothing.

    Raises:
        ValueError: another ``decay``.

    Source: Tarvainen & Valpola, Mean teachers (2017); the first steps as in TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, network: torch.nn.Module, decay: float | None = 0.999) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, or None for no average, got {decay}.")
        self.network = unwrapped_network(network)
        self.decay = float(decay or 0.0)
        self._average = AveragedModel(self.network, multi_avg_fn=self._update, use_buffers=True) if self.decay else None
        self._loaded = self._swapped = False

    @property
    def active(self) -> bool:
        """Whether weights are averaged at all."""
        return self._average is not None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer (averages) or to an evaluator (uses the average)."""
        if self._average is None:
            return
        if isinstance(engine, Trainer):
            engine.add_event_handler(Events.STARTED, self._started)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._stepped)
        else:
            engine.add_event_handler(Events.STARTED, self._swap_in)
            engine.add_event_handler(Events.COMPLETED, self._swap_out)
            on_failure(engine, lambda *_: self._swap_out())

    def state_dict(self) -> dict[str, Any]:
        """The average and how many steps are in it; empty when it is switched off."""
        return {} if self._average is None else dict(self._average.state_dict())

    def require_state(self, state: Mapping[str, Any] | None, file: object) -> None:
        """Refuse a checkpoint without an average where there is to be one, and one with an average where there is not:
        the best weights before and after would not be of one kind.

        Args:
            state: what :meth:`state_dict` gave, or None.
            file: the checkpoint's name, for the error.

        Raises:
            ValueError: as said.
        """
        if bool(state) == self.active:
            return
        if self.active:
            reason, remedy = "holds no average of the weights (ema_decay)", "--ema_decay 0, to go on without one"
        else:
            reason, remedy = "holds an average of the weights, and ema_decay is off", "the ema_decay of that run"
        raise ValueError(f"{file} {reason}. Give {remedy}.")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with that average, when the trainer starts next."""
        if self._average is not None:
            self._average.load_state_dict(state)
            self._loaded = True

    # ---- averaging ---------------------------------------------------------------------------------------------------

    def _started(self) -> None:
        assert self._average is not None
        self._swap_out()  # an evaluation that was cut off
        if not self._loaded:
            self._average.n_averaged.zero_()
            self._average.update_parameters(self.network)  # copies where nothing is averaged yet
        self._loaded = False

    def _stepped(self, engine: Engine) -> None:
        if self._average is not None and optimizer_stepped(engine):
            self._average.update_parameters(self.network)

    @torch.no_grad()
    def _update(self, average: Sequence[torch.Tensor], now: Sequence[torch.Tensor], steps: torch.Tensor | int) -> None:
        """Tensors of one dtype each; ``steps`` of the training, this one among them."""
        n = float(steps)
        if average[0].is_floating_point():
            torch._foreach_lerp_(list(average), list(now), 1 - min(self.decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(list(average), list(now))

    # ---- evaluation --------------------------------------------------------------------------------------------------

    def _swap_in(self) -> None:
        if self._average is not None and self._average.n_averaged > 0 and not self._swapped:
            self._swap()

    def _swap_out(self) -> None:
        if self._swapped:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Contents change places, not tensors, which optimizer, ``DistributedDataParallel`` and kept calls refer to."""
        assert self._average is not None
        for mine, theirs in zip(_tensors(self._average.module), _tensors(self.network), strict=True):
            kept = theirs.clone()
            theirs.copy_(mine)
            mine.copy_(kept)
        self._swapped = not self._swapped


def _tensors(network: torch.nn.Module) -> Iterator[torch.Tensor]:
    return chain(network.parameters(), network.buffers())
