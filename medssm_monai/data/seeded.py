"""Augmentations that depend on the seed, the epoch and the image alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.data.utils import set_rnd

__all__ = ["SeededDataset"]


class SeededDataset(CacheDataset):
    """MONAI's ``CacheDataset``, whose random transforms are seeded anew for each image.

    What an image looks like in an epoch then depends neither on the images before it, nor on the worker of the data
    loader or the process of a distributed training that loads it. :class:`medssm_monai.handlers.EpochSeed` gives the
    epoch's seed, to workers that outlive an epoch too; before that, and without one, random numbers are drawn as in
    ``CacheDataset``. Arguments are those of ``CacheDataset``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seed = torch.full((), -1, dtype=torch.int64).share_memory_()  # with the workers; below 0: none

    def seed_items(self, seed: int) -> None:
        """Draw from this seed, an integer from 0, and the position of each image, from now on."""
        self._seed.fill_(seed)

    def __getitem__(self, index: int | slice | Sequence[int]) -> Any:
        seed = int(self._seed)
        if seed >= 0 and isinstance(index, (int, np.integer)):
            place = int(index) % len(self)
            set_rnd(self.transform, int(np.random.SeedSequence([seed, place]).generate_state(1)[0]))
        return super().__getitem__(index)
