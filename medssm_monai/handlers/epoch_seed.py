"""Random numbers of an epoch that depend on the seed and the epoch alone."""

from __future__ import annotations

import logging
import random

import numpy as np
import torch
from ignite.engine import Events
from monai.data.utils import set_rnd
from monai.engines import Workflow
from monai.utils import MAX_SEED

from ..data import SeededDataset
from .events import process_rank

__all__ = ["EpochSeed"]

logger = logging.getLogger(__name__)


class EpochSeed:
    """Seed every source of random numbers of a MONAI trainer anew at the start of each epoch, by (seed, epoch).

    So an epoch draws the same order of images, augmentations and dropout whether the training came to it in one go or
    was resumed just before it. Seeded are PyTorch, NumPy and Python, the random transforms of the training data and of
    ``prepare_batch``, and the data loader's own generator where it has one. Data loader workers take their seeds from
    PyTorch's when they start, at the first batch of an epoch.

    A :class:`medssm_monai.data.SeededDataset` is given the epoch's seed instead, and augments an image alike in every
    worker and process. All processes of a distributed training have the same order of images and the same random
    numbers in ``prepare_batch``; what layers (dropout) and other data sets draw differs from process to process.

    Args:
        seed: any integer; ``None`` seeds nothing, and a resumed training then differs from an uninterrupted one.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed

    def attach(self, engine: Workflow) -> None:
        """Attach to a MONAI trainer."""
        if self.seed is None:
            return
        kept = getattr(engine.data_loader, "persistent_workers", False)
        if kept and not isinstance(getattr(engine.data_loader, "dataset", None), SeededDataset):
            logger.warning(
                "persistent_workers keep their random numbers from epoch to epoch: a resumed training will differ from "
                "an uninterrupted one. Leave that option out for equal results."
            )
        engine.add_event_handler(Events.EPOCH_STARTED, self)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._differ)

    def __call__(self, engine: Workflow) -> None:
        """Seed the epoch that ``engine`` starts."""
        shared, own = self._seeds(engine, 0), self._seeds(engine, process_rank())
        torch.manual_seed(shared[0])
        np.random.seed(own[1])  # noqa: NPY002  # transforms of other libraries draw from it
        random.seed(own[2])
        dataset = getattr(engine.data_loader, "dataset", None)
        if isinstance(dataset, SeededDataset):
            dataset.seed_items(shared[3])
        else:
            set_rnd(dataset, own[3])
        set_rnd(engine.prepare_batch, shared[4])
        generator = getattr(engine.data_loader, "generator", None)
        if generator is not None:
            generator.manual_seed(shared[5])

    def _differ(self, engine: Workflow) -> None:
        """Once the order of images is drawn, with the first batch of the epoch, layers draw numbers of their own."""
        first = engine.state.iteration % (engine.state.epoch_length or 1) == 0  # not counted yet
        if first and process_rank() > 0:
            torch.manual_seed(self._seeds(engine, process_rank())[0])

    def _seeds(self, engine: Workflow, rank: int) -> list[int]:
        entropy = [int(self.seed or 0) % MAX_SEED, engine.state.epoch, rank]
        return [int(word) for word in np.random.SeedSequence(entropy).generate_state(6)]
