"""Which images a process of a distributed training takes: its part of each batch, its part of the validation."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from torch.utils.data import RandomSampler, Sampler

from ..utils.processes import own_part, world_size

__all__ = ["BatchPartSampler", "PartSampler", "part_of_batch"]


def part_of_batch(batch_size: int, processes: int | None = None) -> int:
    """How many images of a batch each process takes.

    Args:
        batch_size: of all processes together.
        processes: how many; None: those of the running group.

    Raises:
        ValueError: the batch cannot be shared evenly.

    Example:
        >>> part_of_batch(16, 4)
        4
    """
    processes = world_size() if processes is None else processes
    if batch_size < 1 or batch_size % processes:
        fitting = -(-max(batch_size, 1) // processes) * processes
        raise ValueError(
            f"batch_size is that of all processes together, and {batch_size} images cannot be shared evenly among "
            f"{processes} of them: take a multiple of {processes} (--batch_size {fitting}), or another "
            "number of processes."
        )
    return batch_size // processes


class BatchPartSampler(Sampler[int]):
    """Shuffled indices of the images that a process takes, so that batch ``k`` of all processes together holds the
    images, in their order, of batch ``k`` of a single process.

    The order is that of ``torch.utils.data.RandomSampler``, whose seed PyTorch's global generator gives: all processes
    must have seeded it alike (:class:`medssm_monai.handlers.EpochSeed`). A process takes consecutive images of each
    batch. Give the data loader ``batch_size=part_of_batch(batch_size)``.

    Args:
        dataset: what is sampled.
        batch_size: of all processes together.
        drop_last: leaves out the images that fill no batch; else the last one is shared as evenly as possible.

    Raises:
        ValueError: a batch that cannot be shared evenly; fewer images than processes in the last batch.
    """

    def __init__(self, dataset: Sized, batch_size: int, drop_last: bool = True) -> None:
        self.order: Sampler[int] = RandomSampler(dataset)
        self.batch_size, self.drop_last = batch_size, drop_last
        part_of_batch(batch_size)
        rest = len(dataset) % batch_size
        last = rest if len(dataset) and rest and not drop_last else batch_size
        if last < world_size() or not len(dataset):
            raise ValueError(
                f"the training part has {len(dataset)} images, and the last batch of {last if len(dataset) else 0} is "
                f"too small for {world_size()} processes: start fewer of them."
            )

    def __iter__(self) -> Iterator[int]:
        order = list(self.order)
        end = len(order) // self.batch_size * self.batch_size if self.drop_last else len(order)
        for start in range(0, end, self.batch_size):
            batch = order[start : min(start + self.batch_size, end)]
            yield from batch[own_part(len(batch))]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.order), self.batch_size)  # type: ignore[arg-type]
        part = own_part(0 if self.drop_last else rest)
        return whole * part_of_batch(self.batch_size) + part.stop - part.start


class PartSampler(Sampler[int]):
    """Indices of the images that a process evaluates, in order: consecutive ones, none twice, none left out.

    Where there are fewer images than processes, each process evaluates all of them, since a process without an image
    would leave the others waiting: then every image counts as often as any other, and means are what they are in one
    process.

    Args:
        dataset: what is evaluated.
    """

    def __init__(self, dataset: Sized) -> None:
        count = len(dataset)
        self.indices = range(count) if count < world_size() else range(count)[own_part(count)]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
