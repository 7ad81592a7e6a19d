"""Times our selective scan beside the strongest others on this CPU, each in an environment of its own, in one run.

    python -m venv /path/to/mambapy && /path/to/mambapy/bin/pip install torch==2.13.0 mambapy==1.2.0
    python -m venv /path/to/jax && /path/to/jax/bin/pip install "jax==0.10.*"
    python -m venv /path/to/intel
    /path/to/intel/bin/pip install torch==2.8.0 intel_extension_for_pytorch==2.8.0 numpy
    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.scan_peers \
        --peer mambapy=/path/to/mambapy/bin/python --peer intel=/path/to/intel/bin/python \
        --peer jax-scan=/path/to/jax/bin/python --peer jax-associative=/path/to/jax/bin/python

Peers: ``mambapy`` (parallel scan in PyTorch), ``intel`` (Intel's extension for PyTorch, which wants the CPU build of
PyTorch 2.8; forward alone), ``jax-scan`` (``lax.scan``, eight tokens to a step of its loop), ``jax-associative``
(``lax.associative_scan``). Each stays alive in its own process, and every round asks each of them once, ours included,
every second round in the opposite order; the figures are medians. First outputs and gradients are compared with those
of our plain PyTorch scan in float64: a peer that is wrong, or cannot compute them, is named and not timed. Shapes are
those of ``benchmarks.scan``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssm_monai.ops import selective_scan

from .pipe import Child, ChildError
from .scan import FORWARD, SHAPES, TRAINING
from .scan_candidates import make_arguments
from .system import ROOT, describe, heading

PROGRAM = Path(__file__).with_name("scan_peer.py")
OURS = "ours"
NAMES = ("mambapy", "intel", "jax-scan", "jax-associative")
TOLERANCE = 1e-3  # of the greatest value of an output or gradient, from float64
Peers = dict[str, Child]


def inputs(shape: str, batch: int) -> dict[str, torch.Tensor]:
    """The arguments that ``benchmarks.scan`` makes for a shape."""
    options = argparse.Namespace(directions=1, dtype="float32", device="cpu")
    return make_arguments(SHAPES[shape], batch, options)


def expected(arguments: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Output, and gradients of its sum, in float64 by the package's plain PyTorch scan."""
    leaves = {name: tensor.double().requires_grad_() for name, tensor in arguments.items()}
    y = selective_scan(*leaves.values(), backend="blocked")
    y.sum().backward()
    return {"y": y.detach().numpy(), **{f"d{name}": leaf.grad.numpy() for name, leaf in leaves.items()}}


def wrong(found: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with a peer's results, or None: shapes, missing ones, and what is too far from float64."""
    for name, value in found.items():
        if value.shape != right[name].shape:
            return f"{name} has shape {value.shape} instead of {right[name].shape}"
        apart = float(np.abs(value - right[name]).max() / np.abs(right[name]).max())
        if not apart <= TOLERANCE:  # also of what is no number
            return f"{name} is {apart:.1e} from float64, relative to its greatest value; at most {TOLERANCE} is right"
    return None


def start(peers: Mapping[str, str], threads: int, stack: ExitStack) -> tuple[Peers, dict[str, str], set[str]]:
    """Start ours and the peers: processes, what each says of itself or why it is missing, and those with gradients."""
    found, about, training = {}, {}, set()
    alone = {"OMP_NUM_THREADS": str(threads), "XLA_FLAGS": ""}
    for name, python in {OURS: sys.executable, **peers}.items():
        path = {"PYTHONPATH": str(ROOT) if name == OURS else ""}
        try:
            child = Child(name, PROGRAM, python=python, environment=alone | path, arguments=[name])
            stack.callback(child.close)
            said = child.ask("start", threads=threads)
        except ChildError as error:
            about[name] = f"left out: {str(error).splitlines()[-1]}"
            continue
        found[name], about[name] = child, f"{said['versions']}, Python {said['python']}"
        training |= {name} if said["training"] else set()
    return found, about, training


def checked(peers: Peers, kind: str, right: Mapping[str, np.ndarray], folder: Path) -> tuple[Peers, dict[str, str]]:
    """Those whose results are right, and what is wrong with the others."""
    good, bad = {}, {}
    for name, child in peers.items():
        path = folder / f"{name}.npz"
        try:
            child.ask("load", path=str(folder / "inputs.npz"))
            child.ask("results", path=str(path), training=kind == TRAINING)
            with np.load(path) as file:
                fault = wrong(dict(file), right)
        except ChildError as error:
            fault = str(error).splitlines()[-1]
        if fault is None:
            good[name] = child
        else:
            bad[name] = fault
    return good, bad


def measure(shape: str, batch: int, kind: str, peers: Peers, repeats: int) -> list[dict[str, Any]]:
    """Rows of one shape and pass; a peer that is not timed has its reason in place of its time."""
    arguments = inputs(shape, batch)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "inputs.npz"), **{name: tensor.numpy() for name, tensor in arguments.items()})
        good, bad = checked(peers, kind, expected(arguments), Path(folder))
    times: dict[str, list[float]] = {name: [] for name in good}
    for child in good.values():
        child.ask("time", training=kind == TRAINING)
    for turn in range(repeats):
        for name, child in list(good.items())[:: -1 if turn % 2 else 1]:
            times[name].append(child.ask("time", training=kind == TRAINING))
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = []
    for name in peers:
        row: dict[str, Any] = {"shape": shape, "batch": batch, "pass": kind, "peer": name}
        if name in bad:
            row["not_timed"] = bad[name]
        else:
            row |= {"ms": 1e3 * medians[name], "ms_min": 1e3 * min(times[name])}
            if OURS in medians:
                row |= {"x_ours": medians[name] / medians[OURS], "x_ours_min": min(times[name]) / min(times[OURS])}
        rows.append(row)
    return rows


HEAD = "| shape | pass | peer | ms (least) | times ours (by the least) |\n" + "|---" * 5 + "|"


def lines_of(rows: list[dict[str, Any]]) -> str:
    """The rows as lines of a Markdown table."""
    lines = []
    for row in rows:
        sizes = SHAPES[row["shape"]][:3]  # channels, tokens, states
        where = f"{row['shape']} {sizes}, batch {row['batch']} | {row['pass']} | {row['peer']}"
        if "not_timed" in row:
            lines.append(f"| {where} | not timed: {row['not_timed']} | |")
        else:
            ours = f"{row['x_ours']:.1f} ({row['x_ours_min']:.1f})" if "x_ours" in row else ""
            lines.append(f"| {where} | {row['ms']:.2f} ({row['ms_min']:.2f}) | {ours} |")
    return "\n".join(lines)


def peer(word: str) -> tuple[str, str]:
    """``NAME=PYTHON``."""
    name, _, python = word.partition("=")
    if name not in NAMES or not python:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=PYTHON with a name of {', '.join(NAMES)}")
    return name, python


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], type=peer, metavar="NAME=PYTHON", help="once for each")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["a", "c", "e"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--passes", nargs="+", choices=(FORWARD, TRAINING), default=[FORWARD, TRAINING])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    return parser.parse_args(words)


def main() -> int:
    """Start the peers, compare, measure, print."""
    options = parse()
    torch.set_num_threads(options.threads)
    system = describe(options.threads, options.repeats)
    rows = []
    with ExitStack() as stack:
        peers, about, training = start(dict(options.peer), options.threads, stack)
        print(f"{heading(system | about)}\n{HEAD}", flush=True)
        for shape in options.shapes:
            for kind in options.passes:
                able = {name: child for name, child in peers.items() if kind == FORWARD or name in training}
                new = measure(shape, options.batch, kind, able, options.repeats)
                print(lines_of(new), flush=True)
                rows += new
    if options.json:
        options.json.write_text(json.dumps({"system": system, "peers": about, "rows": rows}, indent=1))
    return 0 if all(name in peers for name, _ in options.peer) else 1


if __name__ == "__main__":
    sys.exit(main())
