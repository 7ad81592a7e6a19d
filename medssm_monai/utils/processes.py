"""The processes of a distributed training: which one this is, and what all of them hold together."""

from __future__ import annotations

import os
from typing import Any, TypeVar, overload

import torch
import torch.distributed as dist

__all__ = ["from_first_rank", "own_part", "process_rank", "require_one_process", "whole_batch", "world_size"]

Value = TypeVar("Value")


def process_rank() -> int:
    """Rank of this process: of the running process group, else of the launcher's ``RANK``, else 0.

    Asked of PyTorch: the first ``ignite.distributed.get_rank()`` in a group is a collective operation, in which one
    rank alone (with a failure of its own, say) would wait for the others, and it raises once the group is destroyed.
    """
    return dist.get_rank() if _in_group() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes the running process group has; 1 without one."""
    return dist.get_world_size() if _in_group() else 1


def from_first_rank(value: Value) -> Value:
    """What rank 0 of the running process group has; the value itself without a group. A collective operation."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def require_one_process() -> None:
    """Refuse to run in several processes that know nothing of each other; bundle configs but ``multi_gpu_train.yaml``
    call it in ``initialize``.

    Raises:
        ValueError: ``torchrun`` has started several processes.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:
        raise ValueError(
            f"this command runs in one process, and torchrun has started {started}, which would each do all of it: "
            "start it with python alone, or, if it is a training, add multi_gpu_train.yaml to its config files."
        )


def own_part(count: int, rank: int | None = None, processes: int | None = None) -> slice:
    """Which of ``count`` items in a row belong to this process: consecutive ones, in the order of ranks; where they do
    not divide evenly the first ranks have one more.

    Args:
        count: items of all processes.
        rank: of the process; None: this one.
        processes: how many; None: those of the group.

    Example:
        >>> [own_part(5, rank, 2) for rank in range(2)]
        [slice(0, 3, None), slice(3, 5, None)]
    """
    rank = process_rank() if rank is None else rank
    processes = world_size() if processes is None else processes
    each, more = divmod(count, processes)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


@overload
def whole_batch(part: torch.Tensor) -> torch.Tensor: ...


@overload
def whole_batch(part: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> list[torch.Tensor]: ...


def whole_batch(part: Any) -> Any:
    """The parts ``(B_r, ...)`` of all processes as one batch, in the order of ranks; alone, the tensor itself. Of a
    list (the predictions of deep supervision) each entry.

    Every process must call it. Gradients flow into the own part, multiplied by the number of processes:
    ``DistributedDataParallel`` takes the mean over processes, so that a loss of the whole batch gets the gradient that
    it has in one process, whatever it does with the batch and however unevenly the batch is shared.
    """
    if isinstance(part, (list, tuple)):
        return [whole_batch(one) for one in part]
    count = world_size()
    if count == 1:
        return part
    from monai.utils import evenly_divisible_all_gather

    part = torch.as_tensor(part).as_subclass(torch.Tensor)
    parts = list(evenly_divisible_all_gather(part.detach().contiguous(), concat=False))
    if part.requires_grad:
        own = part.view_as(part)
        own.register_hook(lambda gradient: gradient * count)
        parts[process_rank()] = own
    return torch.cat(parts)
