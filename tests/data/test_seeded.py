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


def test_workers_that_outlive_an_epoch_draw_anew_in_the_next():
    dataset = SeededDataset([torch.zeros(1, 4)] * 2, [RandGaussianNoise(prob=1.0)], progress=False)
    loader = DataLoader(dataset, batch_size=1, num_workers=1, persistent_workers=True)
    epochs = []
    for seed in (3, 4):
        dataset.seed_items(seed)
        epochs.append(list(loader))
        assert torch.equal(epochs[-1][0][0], dataset[0])
    assert not torch.equal(epochs[0][0], epochs[1][0])
