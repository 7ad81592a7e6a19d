"""Why a training in several processes ends: the first failure, told to all of them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import torch.distributed as dist

from .errors import root_cause
from .processes import process_rank

__all__ = ["failure_elsewhere", "join_processes", "lost_others", "note_failure"]

KEY = "medssm_first_failure"
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # gloo's words
_store: list[Any] = []


def join_processes(backend: str) -> None:
    """Join the process group that ``torchrun`` describes by environment variables.

    Args:
        backend: ``"nccl"`` for GPUs, ``"gloo"`` for CPUs.

    Raises:
        ValueError: the program was not started by ``torchrun``.
    """
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ValueError(
            f"multi_gpu_train.yaml needs torchrun, which sets {', '.join(missing)}: start the command with "
            "torchrun --standalone --nproc_per_node 2 -m monai.bundle ..., or leave that file out."
        )
    store, rank, count = next(iter(dist.rendezvous("env://")))
    _store[:] = [store]
    dist.init_process_group(backend=backend, store=dist.PrefixStore("medssm", store), rank=rank, world_size=count)


def note_failure(error: BaseException) -> None:
    """Tell the other processes what went wrong in this one, if none has told yet."""
    cause = root_cause(error) if isinstance(error, Exception) else error
    if _store and not lost_others(cause) and isinstance(cause, Exception):
        _tell(f"process {process_rank()} failed: {type(cause).__name__}: {cause}")


def _tell(text: str) -> None:
    with suppress(Exception):  # the store has gone with the others; what this process says itself remains
        _store[0].compare_set(KEY, "", text)


def failure_elsewhere() -> str | None:
    """What another process has told of its failure; ``None`` where none did, or where it was this one."""
    if not _store:
        return None
    try:
        text = _store[0].get(KEY).decode() if _store[0].check([KEY]) else ""
    except Exception:  # the store has gone with the others
        return None
    return None if not text or text.startswith(f"process {process_rank()} ") else text


def lost_others(error: BaseException) -> bool:
    """Whether this is no failure of the process itself: the others are gone in the midst of an exchange."""
    if not _store or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, dist.DistBackendError) or any(words in str(error) for words in LOST)  # nccl, gloo
