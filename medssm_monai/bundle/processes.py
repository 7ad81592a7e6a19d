"""A network in several processes that train it together."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from ..networks.layers import synchronized_norms

__all__ = ["data_parallel"]


def data_parallel(network: torch.nn.Module, device: torch.device | str, **options: Any) -> DistributedDataParallel:
    """The network on its device, in PyTorch's ``DistributedDataParallel``, with the batch statistics of all processes.

    Buffers are not sent around before each batch: with common statistics they are equal, and processes validate
    different numbers of batches.

    Args:
        network: changed in place, see :func:`medssm_monai.networks.layers.synchronized_norms`.
        device: of this process.
        options: further arguments of ``DistributedDataParallel``, such as ``find_unused_parameters``.
    """
    device = torch.device(device)
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # the older name
    return DistributedDataParallel(
        synchronized_norms(network.to(device)),
        device_ids=[device] if device.type == "cuda" else None,
        **{buffers: False, **options},
    )
