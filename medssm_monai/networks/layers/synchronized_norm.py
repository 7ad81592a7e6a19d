"""Batch normalization over the batch of all processes, on CPUs too."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...utils.processes import world_size

__all__ = ["SynchronizedBatchNorm", "synchronized_norms"]


class _OverProcesses(torch.autograd.Function):
    """Sum over all processes; so is its gradient, since every process computes with the sum. PyTorch's own,
    ``torch.distributed.nn.functional.all_reduce``, is deprecated (2.13)."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class SynchronizedBatchNorm(_BatchNorm):
    """What ``torch.nn.SyncBatchNorm`` is on GPUs, for processes on CPUs, where PyTorch (2.13) refuses it.

    Mean and variance of a batch come from sums over all processes, whose gradients are summed over all processes in
    turn; parts of the batch may differ in size. The variance is taken about the common mean, in a second pass. In
    evaluation, and in one process, it is PyTorch's batch normalization.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        axes, shape = [0, *range(2, input.dim())], [1, -1, *[1] * (input.dim() - 2)]
        own = input.new_full((1,), input.numel() / input.shape[1], dtype=torch.float64)
        sums = _OverProcesses.apply(torch.cat([input.sum(axes, dtype=torch.float64), own]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        wide = input if input.dtype == torch.float64 else input.float()
        centered = wide - mean.to(wide).reshape(shape)
        variance = _OverProcesses.apply(centered.square().sum(axes, dtype=torch.float64)) / count
        self._track(mean, variance, count)
        scale = (variance + self.eps).rsqrt().to(wide)
        normalized = centered * scale.reshape(shape)
        if self.weight is not None:
            normalized = normalized * self.weight.reshape(shape)
        if self.bias is not None:
            normalized = normalized + self.bias.reshape(shape)
        return normalized.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Move the running statistics as PyTorch does; their variance is the unbiased one."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(unbiased.to(self.running_var), share)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any: it takes the place of normalizations that had checked their own."""


def synchronized_norms(network: nn.Module) -> nn.Module:
    """The network, whose batch normalizations take the statistics of the batch of all processes while it trains:
    ``torch.nn.SyncBatchNorm`` on GPUs, :class:`SynchronizedBatchNorm` on CPUs.

    Changed in place: parameters, buffers and their names stay. Put it onto its device first.
    """
    if any(parameter.device.type != "cpu" for parameter in network.parameters()):
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SynchronizedBatchNorm
    return network
