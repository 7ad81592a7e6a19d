"""Times registered networks, beside an earlier version of themselves, the sequential scan and MONAI's networks.

    python -m benchmarks.networks                             # CPU, 128 x 128, batch 4
    python -m benchmarks.networks --names mamba_mis_s --size 256 --batch 1 --json networks.json
    python -m benchmarks.networks --documented --before ../earlier           # all at the sizes of their pages
    python -m benchmarks.networks --device cuda --batch 16 --dtype bfloat16

One row per network: parameters, multiply-accumulates of all convolutions and matrix products for one image, time of a
batch (median of interleaved repeats, in brackets the least; each round runs every network once, every second round in
the opposite order), images per second, share of the time spent in the scan, and peak memory above the network and its
input, each measured for inference and for a training step (forward and backward). On the CPU the peak is that of a
fresh process; the sequential loop runs only with ``--loop``, because its backward keeps every
state.

``--before CHECKOUT`` names another checkout of this project, such as a Git worktree of an earlier commit. Its networks
run in turn with ours, in a process of their own as ours do, with our weights and input: rows "NAME (before)". Before
anything is timed the results of the two are compared: outputs for inference, the gradients of all parameters and of
the input for a training step. "difference" is that of all of them as one vector, relative; "worst tensor" the greatest
difference of one tensor over its greatest value (a gradient smaller than a millionth of the largest counts as one of
that size); in brackets the same for the version of before against itself, its input changed by one rounding.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from medssm_monai.ops import available_backends

from .comparison_networks import COMPARISONS
from .network_rows import INFERENCE, TRAINING, measure, table
from .network_sides import Side
from .network_sizes import DOCUMENTED, Group, known_networks
from .pipe import ChildError
from .system import ROOT, describe, heading, revision

DEFAULT_COMPARISONS = ("MONAI ResNet-18", "MONAI Swin-T-sized", "MONAI U-Net")


def groups_of(options: argparse.Namespace) -> list[Group]:
    """What runs in turn: one group of the options, or the documented ones (of the names given)."""
    if not options.documented:
        names = options.names or [name for name in known_networks() if "_3d" not in name]
        compare = DEFAULT_COMPARISONS if options.compare is None else options.compare
        return [Group(names, options.size or 128, options.batch or 4, compare)]
    found = []
    for group in DOCUMENTED:
        names = [name for name in group.names if options.names is None or name in options.names]
        compare = group.compare if options.compare is None else options.compare
        if names and options.size in (None, group.size):
            found.append(Group(names, group.size, options.batch or group.batch, compare))
    return found


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=known_networks(), help="networks; default: all of two dimensions")
    parser.add_argument("--documented", action="store_true", help="at the sizes and batches of the networks' pages")
    parser.add_argument("--size", type=int, help="length of each axis (128); with --documented: only that size")
    parser.add_argument("--batch", type=int, help="images a batch (4, or as documented)")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout, measured in turn with this")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of autocast")
    parser.add_argument(
        "--scans", nargs="+", default=[], choices=list(available_backends()), help="also on these scans"
    )
    parser.add_argument(
        "--loop", dest="scans", action="append_const", const="reference", help="the same as --scans reference"
    )
    parser.add_argument("--passes", nargs="+", default=[INFERENCE, TRAINING], choices=[INFERENCE, TRAINING])
    parser.add_argument("--compare", nargs="*", choices=list(COMPARISONS), help="MONAI's networks in the same run")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peaks, which take long")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Measure, print the tables, write the JSON."""
    options = parse(words)
    torch.set_num_threads(options.threads)
    system = describe(options.threads, options.repeats, options.device)
    if options.before:
        system["before"] = f"{options.before}, commit {revision(options.before) or 'not known'}"
    print(heading(system))
    rows, failures = [], []
    groups = groups_of(options)
    while groups:
        left = len(groups)
        try:
            with Side.all(options, ROOT, options.before) as sides:
                while groups:
                    group = groups.pop(0)
                    print(f"Size {group.size}, batch {group.batch}, {options.dtype}:\n", flush=True)
                    new = measure(group, options, sides)
                    print(table(new) + "\n", flush=True)
                    rows += new
        except ChildError as error:  # the other groups get new processes
            print(error, file=sys.stderr)
            failures.append(str(error))
            if len(groups) == left:
                break  # none was reached: the processes do not start
    if options.json:
        chosen = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        kept = {"system": system, "options": chosen, "rows": rows, "failures": failures}
        options.json.write_text(json.dumps(kept, indent=2))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
