"""Fit the temperature of a classification to the validation set, for the best checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys

from medssm_monai.handlers.evaluation_report import gather_lists, is_best_epoch
from medssm_monai.handlers.events import process_rank
from medssm_monai.metrics.calibration import fit_temperature, negative_log_likelihood
from medssm_monai.utils import update_model_settings

__all__ = ["TemperatureFit"]

logger = logging.getLogger(__name__)


class TemperatureFit:
    """
    Ignite handler for the evaluator of a training: whenever a validation gives the best key metric so far, fit the
    temperature to its logits and store it as `temperature` in the settings file beside the checkpoint.

    So the stored temperature always belongs to the stored best weights, also when the training is interrupted, and no
    further pass over the data is needed. The logits are read as they leave the network, before post-processing. After
    each validation `engine.state.metrics` holds `temperature`, `nll` (mean negative log likelihood in nats, without
    it) and `nll_calibrated`. Run distributed, all ranks' logits are gathered and rank 0 writes.

    Attach it before handlers that read `engine.state.metrics`. The settings file must exist or be writable; a training
    that writes it (`write_model_settings`) does so before it starts.

    Args:
        ckpt_path: the best checkpoint, whose settings file `<stem>.json` takes the temperature.

    Raises:
        ValueError: a batch without labels or with logits that are no `(B, K)`; labels outside the range; logits that
            are not finite.
    """

    def __init__(self, ckpt_path: str | os.PathLike[str]) -> None:
        self.ckpt_path = ckpt_path
        self.temperature = 1.0
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
            raise ValueError("TemperatureFit needs labels; validate on labelled data, or leave the handler out.")
        logits = torch.as_tensor(output[CommonKeys.PRED]).detach().double().cpu().numpy()
        self._logits.extend(logits)
        self._labels.extend(torch.as_tensor(output[CommonKeys.LABEL]).detach().cpu().reshape(len(logits)).numpy())

    def _finish(self, engine: Engine) -> None:
        logits, labels = gather_lists(self._logits, self._labels)
        self._logits, self._labels = [], []
        if not logits:
            raise ValueError("no images were evaluated, there is no temperature to fit; check the validation list.")
        logits, labels = np.stack(logits), np.stack(labels)
        temperature = fit_temperature(logits, labels)
        before, after = (negative_log_likelihood(logits, labels, t) for t in (1.0, temperature))
        engine.state.metrics |= {"temperature": temperature, "nll": before, "nll_calibrated": after}
        if not is_best_epoch(engine):
            return
        self.temperature = temperature
        if process_rank() == 0:
            update_model_settings(self.ckpt_path, temperature=temperature)
            logger.info("temperature %.4f: validation NLL %.4f, %.4f without it", temperature, after, before)
