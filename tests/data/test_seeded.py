"""Augmentations by seed and image."""

from __future__ import annotations

import torch
from monai.data import DataLoader
from monai.transforms import RandGaussianNoise

from medssm_monai.data import SeededDataset


def test_augmentations_depend_on_seed_and_image_alone():
    dataset = SeededDataset([torch.zeros(1, 4)] * 3, [RandGaussianNoise(prob=1.0)], progress=False)
    dataset.seed_items(3)
    first = [dataset[index] for index in range(3)]
    backwards = [dataset[index] for index in (2, 1, 0)][::-1]
    loaded = list(DataLoader(dataset, batch_size=1, num_workers=2))
    for one, other, third in zip(first, backwards, loaded, strict=True):
        assert torch.equal(one, other) and torch.equal(one, third[0])
    assert torch.equal(dataset[-1], first[2])
    assert not torch.equal(first[0], first[1])
    dataset.seed_items(4)
    assert not torch.equal(dataset[0], first[0])
