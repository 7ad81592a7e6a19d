"""Batch normalization over the batch of all processes, on CPUs too."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch.distributed.nn.functional import all_reduce

from ...utils.processes import world_size

__all__ = ["SynchronizedBatchNorm", "synchronized_norms"]


class SynchronizedBatchNorm(nn.SyncBatchNorm):
    """``torch.nn.SyncBatchNorm`` that also trains on CPUs, where PyTorch's refuses to (2.13).

    On CPUs mean and variance of the batch come from sums over all processes, whose gradients are summed over all
    processes in turn; parts of the batch may differ in size. The variance is taken about the common mean, in a second
    pass, as in PyTorch's batch normalization.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.device.type != "cpu" or not self.training or world_size() == 1:
            return super().forward(input)
        axes = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        count = all_reduce(input.new_tensor(float(input.numel() // input.shape[1])))
        mean = all_reduce(input.sum(axes)) / count
        centered = input - mean.reshape(shape)
        variance = all_reduce(centered.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach(), count)
        normalized = centered * (variance + self.eps).rsqrt().reshape(shape)
        if self.weight is not None:
            normalized = normalized * self.weight.reshape(shape)
        return normalized if self.bias is None else normalized + self.bias.reshape(shape)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Move the running statistics as PyTorch does; their variance is the unbiased one."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), share)


def synchronized_norms(network: nn.Module) -> nn.Module:
    """The network, whose batch normalizations take the statistics of the batch of all processes while it trains.

    Changed in place: parameters, buffers and their names stay.
    """
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if type(module) is nn.SyncBatchNorm:
            module.__class__ = SynchronizedBatchNorm
    return network
