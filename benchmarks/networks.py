"""Times every registered network against itself on the sequential scan and against MONAI's networks at the same input.

    python -m benchmarks.networks                             # CPU, 128 x 128, batch 4
    python -m benchmarks.networks --names mamba_mis_s --size 256 --batch 1 --json networks.json
    python -m benchmarks.networks --device cuda --batch 16

One row per network: parameters, multiply-accumulates of all convolutions and matrix products for one image, time of a
batch and images per second (median of interleaved repeats, each round runs every network once), share of the time spent
in the scan, and peak memory above the network and its input, each measured for inference and for a training
step (forward and backward). On the CPU the peak is that of a fresh process; the sequential loop runs once per round and
only with ``--loop``, because its backward keeps every state.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import torch
from torch import nn

from medssm_monai import get_network, register
from medssm_monai.networks.complexity import Complexity, count_complexity
from medssm_monai.ops import use_backend

from .comparison_networks import COMPARISONS
from .timing import high_water, timed

INFERENCE, TRAINING = "inference", "training step"
LOOP = " (sequential loop)"
DEFAULT_COMPARISONS = ("MONAI ResNet-18", "MONAI Swin-T-sized", "MONAI U-Net")


def build(name: str, size: int) -> nn.Module:
    """A network by its registered name, or one of MONAI's."""
    torch.manual_seed(0)
    name = name.removesuffix(LOOP)
    if name in COMPARISONS:
        return COMPARISONS[name]()
    given = {"spatial_dims": 2, "img_size": size}
    return get_network(name, **{argument: value for argument, value in given.items() if argument in arguments_of(name)})


def arguments_of(name: str) -> set[str]:
    """Names of the arguments of a registered network; a preset hands its own to the class that it returns."""
    preset = getattr(register(), name)
    network = preset if inspect.isclass(preset) else get_type_hints(preset)["return"]
    return set(inspect.signature(network).parameters)


def channels_of(name: str) -> int:
    """Three for networks with a free number of input channels and for MONAI's; two for those that fuse two images."""
    name = name.removesuffix(LOOP)
    return 3 if name in COMPARISONS or "in_channels" in arguments_of(name) else 2


def step(net: nn.Module, x: torch.Tensor, kind: str, backend: str) -> Callable[[], None]:
    """A closure that runs the network once."""

    def inference() -> None:
        with torch.no_grad(), use_backend(backend):
            net.eval()(x)

    def training() -> None:
        with use_backend(backend):
            net.train()(x).float().square().mean().backward()
        net.zero_grad(set_to_none=True)

    return inference if kind == INFERENCE else training


def scan_share(function: Callable[[], None]) -> float:
    """Part of one call's time that the profiler finds inside the scan's own operators, forward and backward."""
    with torch.profiler.profile() as profiler:
        function()
    events = profiler.key_averages()
    total = sum(e.self_cpu_time_total + e.self_device_time_total for e in events)
    inside = sum(e.self_cpu_time_total + e.self_device_time_total for e in events if e.key.startswith("medssm::"))
    return inside / total


def peak_memory(name: str, kind: str, options: argparse.Namespace) -> int:
    """Bytes above network and input at the peak of one call; on the CPU from a fresh process."""
    if options.device == "cuda":
        function = step(build(name, options.size).cuda(), images(name, options), kind, backend_of(name))
        function()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    words = [sys.executable, "-m", "benchmarks.networks", "--peak-of", name, "--kind", kind]
    words += ["--size", str(options.size), "--batch", str(options.batch), "--threads", str(options.threads)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_here(name: str, kind: str, options: argparse.Namespace) -> int:
    """Growth of this process's peak resident memory over a call, after one on two small images (batch norm
    takes no single one) that loads everything."""
    net, x = build(name, options.size), images(name, options)
    step(net, x[:2, :, :64, :64], kind, backend_of(name))()
    before = high_water()
    step(net, x, kind, backend_of(name))()
    return high_water() - before


def images(name: str, options: argparse.Namespace) -> torch.Tensor:
    """Random input ``(batch, channels, size, size)`` of a network."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, channels_of(name), options.size, options.size)
    return torch.rand(shape, generator=generator).to(options.device)


def backend_of(name: str) -> str:
    """The backend of a row: the sequential loop, or the automatic choice."""
    return "reference" if name.endswith(LOOP) else "auto"


def cost(name: str, net: nn.Module, options: argparse.Namespace) -> Complexity:
    """Parameters and operations of a network for one image."""
    return count_complexity(net, (channels_of(name), options.size, options.size))


def measure(options: argparse.Namespace) -> list[dict[str, object]]:
    """One row per network and kind of pass."""
    names = [*options.names]
    names += [name + LOOP for name in options.names if options.loop]
    names += options.compare
    rows = []
    nets = {name: build(name, options.size).to(options.device) for name in names}
    costs = {name: cost(name, net, options) for name, net in nets.items()}
    for kind in options.passes:
        calls = {name: step(net, images(name, options), kind, backend_of(name)) for name, net in nets.items()}
        times: dict[str, list[float]] = {name: [] for name in names}
        for call in calls.values():
            call()
        for _ in range(options.repeats):
            for name, call in calls.items():
                times[name].append(timed(call, options.device))
        fastest = {name: statistics.median(t) for name, t in times.items()}
        for name in names:
            rows.append(
                {
                    "network": name,
                    "pass": kind,
                    "parameters": costs[name].parameters,
                    "gmac": costs[name].total / 1e9,
                    "scan_gflop": costs[name].scan_flops / 1e9,
                    "milliseconds": 1e3 * fastest[name],
                    "images_per_second": options.batch / fastest[name],
                    "times_the_first": fastest[names[0]] / fastest[name],
                    "scan_share": scan_share(calls[name]) if name in options.names else None,
                    "peak_mib": peak_memory(name, kind, options) / 2**20 if options.memory else None,
                }
            )
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """The rows as a Markdown table."""
    head = "network | pass | parameters | GMAC | ms a batch | images/s | speed, first = 1 | in the scan | peak MiB"
    lines = [f"| {head} |", "|---" * 9 + "|"]
    for row in rows:
        share = "" if row["scan_share"] is None else f"{row['scan_share']:.0%}"
        peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        lines.append(
            f"| {row['network']} | {row['pass']} | {row['parameters']:,} | {row['gmac']:.3f} "
            f"| {row['milliseconds']:.1f} | {row['images_per_second']:.2f} | {row['times_the_first']:.3g} "
            f"| {share} | {peak} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    known = [name for name in register().names if name[0].islower()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=known, choices=known, help="registered networks")
    parser.add_argument("--size", type=int, default=128, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--loop", action="store_true", help="also run each network on the sequential loop (slow)")
    parser.add_argument("--passes", nargs="+", default=[INFERENCE, TRAINING], choices=[INFERENCE, TRAINING])
    parser.add_argument("--compare", nargs="*", default=list(DEFAULT_COMPARISONS), choices=list(COMPARISONS))
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peaks, which take long")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default=INFERENCE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(peak_here(options.peak_of, options.kind, options))
        return
    rows = measure(options)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps({"options": vars(options) | {"json": None}, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
