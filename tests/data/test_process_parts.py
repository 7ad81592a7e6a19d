"""Each process's part of batches and of the validation."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from medssm_monai.data import BatchPartSampler, PartSampler, part_of_batch, process_parts
from medssm_monai.utils import processes


@pytest.fixture
def as_process(monkeypatch):
    def become(rank, count):
        monkeypatch.setattr(processes, "process_rank", lambda: rank)
        for module in (processes, process_parts):
            monkeypatch.setattr(module, "world_size", lambda: count)

    return become


@pytest.mark.parametrize(
    ("images", "batch", "drop_last"), [(13, 4, True), (13, 4, False), (16, 8, True), (3, 4, False)]
)
def test_batches_of_all_processes_are_those_of_one(as_process, images, batch, drop_last):
    last = images % batch
    count = 2 if not last or drop_last or last >= 2 else 1
    torch.manual_seed(5)
    alone = [found.tolist() for found in DataLoader(range(images), batch, shuffle=True, drop_last=drop_last)]
    parts = []
    for rank in range(count):
        as_process(rank, count)
        sampler = BatchPartSampler(range(images), batch, drop_last)
        torch.manual_seed(5)
        own = [found.tolist() for found in DataLoader(range(images), part_of_batch(batch), sampler=sampler)]
        assert sum(map(len, own)) == len(sampler)
        parts.append(own)
    assert [sum(batches, []) for batches in zip(*parts, strict=True)] == alone


def test_what_cannot_be_shared_is_said(as_process):
    as_process(0, 4)
    with pytest.raises(ValueError, match="6 images cannot be shared evenly among 4.*--batch_size 8"):
        part_of_batch(6)
    with pytest.raises(ValueError, match="last batch of 1 is too small for 4 processes"):
        BatchPartSampler(range(9), 8, drop_last=False)


@pytest.mark.parametrize(("images", "count"), [(5, 2), (4, 2), (7, 3)])
def test_a_validation_is_shared_out_without_repeats(as_process, images, count):
    found = []
    for rank in range(count):
        as_process(rank, count)
        found += list(PartSampler(range(images)))
    assert found == list(range(images))


def test_with_fewer_images_than_processes_each_takes_all(as_process):
    for rank in range(2):
        as_process(rank, 2)
        assert list(PartSampler([7])) == [0] and len(PartSampler([7])) == 1


def test_several_processes_are_refused_where_one_is_meant(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    processes.require_one_process()
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="torchrun has started 3"):
        processes.require_one_process()
