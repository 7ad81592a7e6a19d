"""Fit the temperature of a classification to the validation set."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys

from ..metrics.calibration import fit_temperature, negative_log_likelihood
from .evaluation_report import gather_lists
from .events import process_rank

__all__ = ["TemperatureFit"]

logger = logging.getLogger(__name__)


class TemperatureFit:
    """Ignite handler for the evaluator of a training that fits the temperature to the logits of each validation.

    No further pass over the data is needed. The logits are read as they leave the network, before post-processing.
    After each validation ``engine.state.metrics`` holds ``temperature``, ``nll`` (mean negative log likelihood in nats,
    without it) and ``nll_calibrated``. Run distributed, all ranks' logits are gathered.

    Attach it before handlers that read ``engine.state.metrics``: ``BestModel(..., fitted=["temperature"])`` writes it
    with the best weights, so that both always belong together.

    Raises:
        ValueError: a batch without labels or with logits that are no ``(B, K)``; labels outside the range; logits that
            are not finite.
    """

    def __init__(self) -> None:
        self._logits: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _started(self, engine: Engine) -> None:
        self._logits, self._labels = [], []

    def _collect(self, engine: Engine) -> None:
        output = engine.state.output
        if not isinstance(output, Mapping) or output.get(CommonKeys.LABEL) is None:
            raise ValueError("TemperatureFit needs labels; validate on labeled data, or leave the handler out.")
        logits = torch.as_tensor(output[CommonKeys.PRED]).detach().double().cpu().numpy()
        self._logits.extend(logits)
        self._labels.extend(torch.as_tensor(output[CommonKeys.LABEL]).detach().cpu().reshape(len(logits)).numpy())

    def _finish(self, engine: Engine) -> None:
        rows, numbers = gather_lists(self._logits, self._labels)
        self._logits, self._labels = [], []
        if not rows:
            raise ValueError("no images were evaluated, there is no temperature to fit; check the validation list.")
        logits, labels = np.stack(rows), np.stack(numbers)
        temperature = fit_temperature(logits, labels)
        before, after = (negative_log_likelihood(logits, labels, t) for t in (1.0, temperature))
        engine.state.metrics |= {"temperature": temperature, "nll": before, "nll_calibrated": after}
        if process_rank() == 0:
            logger.info("temperature %.4f: validation NLL %.4f, %.4f without it", temperature, after, before)
