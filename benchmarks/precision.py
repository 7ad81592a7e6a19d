"""bfloat16 beside float32: time of both passes of each network, and how far the outputs are apart.

    python -m benchmarks.precision --threads 2
    python -m benchmarks.precision --names mamba_mis_s --size 128 --batch 4

One row per network. The network is called as the bundles call it, through
``medssm_monai.bundle.AutocastInferer``; weights and input are random, the same in both precisions. The two run in turn.
"times" is bfloat16's time over float32's, of the medians, in brackets of the least of the repeats. "difference" is the
largest of the outputs over the largest output.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from monai.inferers import SimpleInferer

from medssm_monai.bundle import AutocastInferer
from medssm_monai.utils import prepare_process

from .network_rows import INFERENCE, TRAINING
from .network_sizes import build, image_shape
from .pipe import seconds
from .system import describe, heading

PRECISIONS = ("float32", "bfloat16")
SIZES = {  # pixels of each axis, images a batch; volumes smaller than documented, which take minutes in bfloat16
    "mamba_mis_s": (128, 4),
    "medconvmamba_t": (224, 2),
    "medspectralnet": (224, 2),
    "clinical_fmamba_2d": (256, 1),
    "clinical_fmamba_3d": (32, 1),
}


def call(net: torch.nn.Module, x: torch.Tensor, kind: str, precision: str) -> Callable[[], torch.Tensor]:
    """A closure that runs the network once and returns its output."""
    infer = AutocastInferer(SimpleInferer(), precision, "cpu")

    def inference() -> torch.Tensor:
        net.eval()
        with torch.no_grad():
            return infer(x, net)

    def training() -> torch.Tensor:
        y = infer(x, net.train())
        y.square().mean().backward()
        net.zero_grad(set_to_none=True)
        return y

    return inference if kind == INFERENCE else training


def row(name: str, size: int, batch: int, repeats: int) -> str:
    """One line of the table."""
    net, x = build(name, size), torch.rand(batch, *image_shape(name, size))
    cells = []
    for kind in (INFERENCE, TRAINING):
        calls = {precision: call(net, x, kind, precision) for precision in PRECISIONS}
        outputs = {precision: run() for precision, run in calls.items()}
        taken: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for _ in range(repeats):
            for precision, run in calls.items():
                taken[precision].append(seconds(run))
        median, least = (choose(taken["bfloat16"]) / choose(taken["float32"]) for choose in (statistics.median, min))
        cells.append(f"{median:.2f} ({least:.2f})")
        if kind == INFERENCE:
            exact = outputs["float32"]
            difference = (outputs["bfloat16"] - exact).abs().max() / exact.abs().max()
    return f"| {name}, {size}, batch {batch} | {cells[0]} | {cells[1]} | {difference:.1e} |"


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--size", type=int, help="pixels of each axis, in place of the documented ones")
    parser.add_argument("--batch", type=int, help="images a batch, in place of the documented ones")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prepare_process()
    print(heading(describe(options.threads, options.repeats)), flush=True)
    print("| network | inference, times | training step, times | difference |\n|---|---|---|---|")
    for name in options.names:
        size, batch = SIZES[name]
        print(row(name, options.size or size, options.batch or batch, options.repeats), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
