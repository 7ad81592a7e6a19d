"""Times the selective scan of every backend side by side: sequential loop, parallel scan, the machine's own limits.

    python -m benchmarks.scan                                        # CPU, all shapes, batch 1 and 8
    python -m benchmarks.scan --shapes a c --batch 1 --json scan.json
    python -m benchmarks.scan --instructions avx2                    # as on a processor without AVX-512
    python -m benchmarks.scan --candidates native --shapes short long --batch 1           # growth with the length
    python -m benchmarks.scan --shapes mis-8 mis-128 medconv fmamba-2d --batch 4          # scans of the networks
    python -m benchmarks.scan --device cuda --dtype bfloat16 --directions 4

One row per candidate: median of interleaved repeats (each round runs every candidate once), so that a busy machine
slows all alike; ratios are taken within the run. A candidate that takes less than half a second runs untimed for 50 ms
before each timed call: else it pays for what the candidate before it did to caches, threads and memory. The floor is
the larger of two times measured in the same run: the bytes that must move over the bandwidth of a triad, and the
exponentials over the rate of a vectorized exponential on as many threads. "extra memory" is the peak above the inputs
during forward and backward, on the CPU measured in a fresh process. The shapes are in ``benchmarks.scan_shapes``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .scan_candidates import CANDIDATES, SETTINGS, make_arguments
from .scan_exponentials import rate
from .scan_shapes import DEFAULT_SHAPES, SHAPES, Shape
from .timing import high_water, timed

AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2,+popcnt,+f16c"}
FORWARD, TRAINING = "forward", "forward+backward"
BRIEF = 0.5  # seconds
WARM_UP = 0.05  # seconds
PROGRAM = (sys.executable, "-m", "benchmarks.scan")


def settle(shape: str, options: argparse.Namespace) -> None:
    """Tell the candidates what is no tensor."""
    wanted = SHAPES[shape]
    SETTINGS["discretization"] = wanted.discretization or options.discretization
    SETTINGS["delta_softplus"] = wanted.network


def warm_up(function: Callable[[], object], device: str) -> None:
    """Run untimed for some time, at least once: wakes threads, fills caches, brings back memory given away."""
    end = time.perf_counter() + WARM_UP
    timed(function, device)
    while time.perf_counter() < end:
        timed(function, device)


def one_pass(name: str, kind: str, arguments: dict[str, Tensor]) -> Callable[[], object]:
    """A closure that runs one candidate once."""
    scan, given = CANDIDATES[name].build(arguments)
    if kind == FORWARD:

        def forward() -> None:
            with torch.no_grad():
                scan(*given)

        return forward

    leaves = [x.detach().requires_grad_() for x in given]  # strides and expanded axes as given
    out_gradient = torch.ones_like(scan(*leaves).detach())

    def training() -> None:
        torch.autograd.backward(scan(*leaves), out_gradient)
        for leaf in leaves:
            leaf.grad = None

    return training


def bandwidth(device: str) -> float:
    """Bytes per second of ``a = b + c`` on arrays that no cache holds."""
    b, c = (torch.ones(16 << 20, device=device) for _ in range(2))
    a = torch.empty_like(b)
    times = [timed(lambda: torch.add(b, c, out=a), device) for _ in range(10)]
    return 3 * 4 * b.numel() / min(times)


def exponential_rate(device: str, threads: int) -> float:
    """Exponentials per second: vectorized and from cache on the CPU, ``torch.exp`` on a GPU."""
    if device == "cuda":
        x = torch.zeros(1 << 22, device=device)
        y = torch.empty_like(x)
        times = [timed(lambda: torch.exp(x, out=y), device) for _ in range(20)]
        return x.numel() / min(times)
    return rate(threads)


def floor_seconds(kind: str, args: dict[str, Tensor], bytes_per_s: float, exps_per_s: float) -> tuple[float, float]:
    """Least time for the bytes and for the exponentials of a pass (forward and backward: twice the exponentials)."""
    read = sum(args[name].numel() * args[name].element_size() for name in ("u", "delta", "B", "C"))
    out = args["u"].numel() * args["u"].element_size()
    exps = args["u"].numel() * args["A"].shape[-1]
    if kind == FORWARD:
        return (read + out) / bytes_per_s, exps / exps_per_s
    return (2 * read + 2 * out + read) / bytes_per_s, 2 * exps / exps_per_s


def extra_memory(name: str, shape: str, batch: int, options: argparse.Namespace) -> float | None:
    """Peak MB above the inputs during forward and backward."""
    if options.device == "cuda":
        run = one_pass(name, TRAINING, make_arguments(SHAPES[shape], batch, options))
        run()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    command = [*PROGRAM, "--memory-of", name, "--shapes", shape, "--batch", str(batch)]
    command += ["--threads", str(options.threads), "--dtype", options.dtype, "--directions", str(options.directions)]
    done = subprocess.run(command, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def print_memory(options: argparse.Namespace) -> None:
    """Child process of :func:`extra_memory`: reset the high-water mark, run once, print the difference."""
    small = make_arguments(Shape(16, 64, 16), 1, options)
    one_pass(options.memory_of, TRAINING, small)()  # compile, start threads
    settle(options.shapes[0], options)
    arguments = make_arguments(SHAPES[options.shapes[0]], options.batch[0], options)
    scan, given = CANDIDATES[options.memory_of].build(arguments)
    leaves = [x.requires_grad_() for x in given]
    out_gradient = torch.ones_like(leaves[0])
    Path("/proc/self/clear_refs").write_text("5")
    before = high_water()
    torch.autograd.backward(scan(*leaves), out_gradient)
    print((high_water() - before) / 1e6)


def measure(shape: str, batch: int, kind: str, options: argparse.Namespace, limits: tuple[float, float]) -> list[dict]:
    """Rows for one shape: every candidate, interleaved."""
    settle(shape, options)
    arguments = make_arguments(SHAPES[shape], batch, options)
    names = [n for n in options.candidates if CANDIDATES[n].usable(options, kind, batch, SHAPES[shape]) is None]
    passes = {name: one_pass(name, kind, arguments) for name in names}
    for run in passes.values():
        timed(run, options.device)  # compiles or loads kernels, starts threads: says nothing about how long a call is
    usual = {name: timed(run, options.device) for name, run in passes.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name, run in passes.items():
            if usual[name] < BRIEF:
                warm_up(run, options.device)
            times[name].append(timed(run, options.device))
    del passes
    by_bytes, by_exps = floor_seconds(kind, arguments, *limits)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = []
    for name in names:
        row = {"shape": shape, "batch": batch, "pass": kind, "candidate": name, "ms": medians[name] * 1e3}
        row |= {"ms_min": min(times[name]) * 1e3, "repeats": len(times[name])}
        row |= {f"x_{other}": medians[other] / medians[name] for other in ("loop", "parallel") if other in medians}
        row |= {"floor_ms": max(by_bytes, by_exps) * 1e3, "x_floor": medians[name] / max(by_bytes, by_exps)}
        if options.memory and kind == TRAINING:
            row["extra_mb"] = extra_memory(name, shape, batch, options)
        rows.append(row)
    return rows


def show(rows: list[dict]) -> None:
    """Print rows as a table."""
    for row in rows:
        ratios = "  ".join(f"{row[k]:8.1f}x {k[2:]}" for k in ("x_loop", "x_parallel") if k in row)
        memory = f"  {row['extra_mb']:7.1f} MB" if row.get("extra_mb") is not None else ""
        print(
            f"{row['shape']} batch {row['batch']}  {row['pass']:17} {row['candidate']:10} {row['ms']:10.3f} ms"
            f"  {ratios}  {row['x_floor']:7.1f} floors{memory}",
            flush=True,
        )


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=DEFAULT_SHAPES)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--passes", nargs="+", choices=(FORWARD, TRAINING), default=[FORWARD, TRAINING])
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--directions", type=int, choices=(1, 2, 4), default=1, help="scan orders in one grouped call")
    parser.add_argument("--discretization", choices=("euler", "zoh"), default="euler")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--instructions", choices=("native", "avx2"), default="native")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="skip the memory measurement")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Measure, print the table, write the JSON."""
    options = parse()
    if options.instructions == "avx2" and "NUMBA_CPU_NAME" not in os.environ:
        return subprocess.call([*PROGRAM, *sys.argv[1:]], env={**os.environ, **AVX2})
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print_memory(options)
        return 0
    for name in options.candidates:
        print(f"{name}: {CANDIDATES[name].describe(options)}")
    limits = bandwidth(options.device), exponential_rate(options.device, options.threads)
    print(f"triad {limits[0] / 1e9:.1f} GB/s, exponentials {limits[1] / 1e9:.2f} G/s, {options.threads} threads")
    rows = []
    for batch in options.batch:
        for shape in options.shapes:
            for kind in options.passes:
                new = measure(shape, batch, kind, options, limits)
                show(new)
                rows += new
    if options.json:
        system = {"torch": torch.__version__, "threads": options.threads, "bytes_per_s": limits[0]}
        system |= {"exponentials_per_s": limits[1], "instructions": options.instructions, "dtype": options.dtype}
        options.json.write_text(json.dumps({"system": system, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
