"""Runs the networks of one checkout, that of its ``PYTHONPATH``, for ``benchmarks.networks`` in a process of its own.

Of the package it uses public names alone (the registry and ``use_backend``), so that older checkouts serve as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(sys.path.pop(0))  # this folder last: its modules must not be taken for Python's own

import torch
from comparison_networks import COMPARISONS
from pipe import seconds, serve
from timing import high_water
from torch import nn

import medssm_monai
import medssm_monai.utils
from medssm_monai.ops import use_backend

INFERENCE = "inference"
NETS: dict[str, tuple[nn.Module, torch.Tensor, str]] = {}
SETTINGS = {"device": "cpu", "dtype": "float32"}


def start(threads: int, device: str, dtype: str) -> dict[str, str]:
    """Set the threads, device and the number format of autocast; say which package and PyTorch these are."""
    torch.set_num_threads(threads)
    prepare = getattr(medssm_monai.utils, "prepare_process", None)  # what the checkout's own bundles do first
    if prepare is not None:
        prepare()
    SETTINGS.update(device=device, dtype=dtype)
    return {"package": str(Path(medssm_monai.__file__).resolve().parent), "torch": torch.__version__}


def load(
    name: str, network: str, arguments: dict[str, Any], shape: list[int], backend: str, weights: str | None
) -> None:
    """Build a network and its random input; with ``weights`` take over those of that file, each by its name."""
    torch.manual_seed(0)
    net = COMPARISONS[network]() if network in COMPARISONS else medssm_monai.get_network(network, **arguments)
    if weights is not None:
        net.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    NETS[name] = net.to(SETTINGS["device"]), x.to(SETTINGS["device"]), backend


def cost(name: str) -> dict[str, float]:
    """Parameters, and the operations of one image."""
    from medssm_monai.networks.complexity import count_complexity  # our own side is asked alone

    net, x, backend = NETS[name]
    with use_backend(backend):
        count = count_complexity(net, tuple(x.shape[1:]))
    return {"parameters": count.parameters, "gmac": count.total / 1e9, "scan_gflop": count.scan_flops / 1e9}


def save(name: str, weights: str) -> None:
    """Write the network's weights to a file."""
    torch.save(NETS[name][0].state_dict(), weights)


def forget(name: str) -> None:
    """Give a network's memory back."""
    del NETS[name]


def forward(net: nn.Module, x: torch.Tensor, backend: str) -> torch.Tensor:
    """One output; mixed precision unless float32 is asked for."""
    dtype = getattr(torch, SETTINGS["dtype"])
    with use_backend(backend), torch.autocast(SETTINGS["device"], dtype, enabled=dtype != torch.float32):
        return net(x).float()


def step(name: str, kind: str) -> Callable[[], None]:
    """A closure that runs the network once: forward alone, or forward and backward of a sum of squares."""
    net, x, backend = NETS[name]
    net.train(kind != INFERENCE)

    def inference() -> None:
        with torch.no_grad():
            forward(net, x, backend)

    def training() -> None:
        forward(net, x, backend).square().mean().backward()
        net.zero_grad(set_to_none=True)

    return inference if kind == INFERENCE else training


def results(name: str, kind: str, path: str, nudged: bool = False) -> None:
    """Write to a file the output of the pass or, for a training step, the gradient of each parameter and of the input.

    ``nudged``: of an input whose numbers are all one rounding higher.
    """
    net, x, backend = NETS[name]
    net.train(kind != INFERENCE)
    x = torch.nextafter(x, torch.full_like(x, 2.0)) if nudged else x.clone()
    x.requires_grad_(kind != INFERENCE)
    with torch.set_grad_enabled(kind != INFERENCE):
        output = forward(net, x, backend)
    found = {"output": output}
    if kind != INFERENCE:
        output.square().mean().backward()
        given = {"input": x, **dict(net.named_parameters())}
        found = {key: value.grad.cpu() for key, value in given.items() if value.grad is not None}
        net.zero_grad(set_to_none=True)
    torch.save(found, path)


def finish() -> None:
    """Wait for the GPU, where there is one at work."""
    if SETTINGS["device"] == "cuda":
        torch.cuda.synchronize()


def time(name: str, kind: str) -> float:
    """Seconds of one pass."""
    return seconds(step(name, kind), finish)


def scan_share(name: str, kind: str) -> float:
    """Part of one pass's time that the profiler finds inside the scan's own operators, forward and backward."""
    with torch.profiler.profile() as profiler:
        step(name, kind)()
        finish()
    times = {e.key: e.self_cpu_time_total + e.self_device_time_total for e in profiler.key_averages()}
    inside = sum(time for key, time in times.items() if key.startswith("medssm") and "scan" in key)
    return inside / sum(times.values())


def peak(name: str, kind: str) -> int:
    """Bytes above network and input at the peak of one pass, after one on two small images (batch norm takes no single
    one) that loads everything. Honest in a fresh process alone, on the CPU.
    """
    net, x, backend = NETS[name]
    small = x[(slice(2), slice(None), *[slice(64)] * (x.dim() - 2))]
    NETS[name] = net, small, backend
    step(name, kind)()
    NETS[name] = net, x, backend
    if SETTINGS["device"] == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(name, kind)()
        return torch.cuda.max_memory_allocated() - before
    before = high_water()
    step(name, kind)()
    return high_water() - before


COMMANDS = (start, load, cost, save, forget, results, time, scan_share, peak)

if __name__ == "__main__":
    serve({function.__name__: function for function in COMMANDS})
