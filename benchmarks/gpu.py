"""Everything that wants an NVIDIA GPU, in one command of less than eight minutes that needs no network.

    python -m benchmarks.gpu                    # writes benchmarks/results/<date>_<card>.md and .json
    python -m benchmarks.gpu --rehearse         # every part on the CPU, tiny: does the check itself work?

Parts: the tests of the Triton backend on the device; the scan and the networks in float32 and bfloat16 beside the plain
PyTorch scan on the same GPU (``blocked``, which needs no kernel of its own), the sequential loop, and mamba_ssm where
it is installed; two minutes of training of each bundle on its demo data, all four side by side. Each part has a time
limit. One that fails does not stop the others: its text is in the result, and the exit status is 1. Without a GPU the
exit status is 2 and nothing runs.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from medssm_monai.handlers.history import read_history
from medssm_monai.ops import available_backends
from medssm_monai.utils.versions import package_versions

from .parts import Part, Result, run_parts
from .system import ROOT, describe, heading

BUNDLES = ("mamba_mis", "medconvmamba", "medspectralnet", "clinical_fmamba")
NETWORKS = ("mamba_mis_s", "medconvmamba_t", "medspectralnet", "clinical_fmamba_2d", "clinical_fmamba_3d")
TESTS = "Tests of the Triton backend"
DTYPES = ("float32", "bfloat16")
NO_GPU = (
    "PyTorch finds no NVIDIA GPU ({reason}). This check measures one and runs nothing without it; "
    "`python -m benchmarks.gpu --rehearse` runs its parts on the CPU, to see that they work."
)


@dataclass(frozen=True)
class Plan:
    """How much is run: on a GPU, or tiny in a rehearsal."""

    device: str
    scan: Sequence[str]
    networks: Sequence[str]
    stop_after: float | None
    training: Sequence[str]
    tests: Sequence[str]
    limits: dict[str, float]


GPU = Plan(
    "cuda",
    ("--shapes", "a", "c", "e", "--batch", "1", "--repeats", "9"),
    ("--documented", "--batch", "4", "--repeats", "5", "--names", *NETWORKS),
    105.0,
    ("--max_epochs", "100000", "--patience", "100000", "--device", "cuda:0"),
    (),
    {"tests": 100, "scan": 50, "networks": 70, "training": 135},  # together 475 s
)
REHEARSAL = Plan(
    "cpu",
    ("--shapes", "a", "--batch", "1", "--repeats", "1"),
    ("--size", "32", "--batch", "2", "--repeats", "1", "--names", "mamba_mis_s", "--compare"),
    None,
    ("--max_epochs", "1", "--device", "cpu"),
    ("-k", "results or served or error"),
    {"tests": 300, "scan": 120, "networks": 300, "training": 500},
)


def missing_gpu() -> str | None:
    """Why there is no GPU to measure, or None."""
    if torch.cuda.is_available():
        return None
    return "this PyTorch is built without CUDA" if torch.version.cuda is None else "its driver shows none"


def _judge_training(folder: Path) -> Callable[[], str]:
    def judge() -> str:
        found = sorted(folder.glob("*/history.csv"))
        assert found, f"no epoch was completed: {folder} holds no history.csv"
        rows = read_history(found[0])
        losses = [row["train_loss"] for row in rows]
        assert all(map(math.isfinite, losses)), f"losses that are no numbers: {losses}"
        took = rows[-1]["seconds"]
        each = f"{len(rows)} epochs in {took:.0f} s, {took / len(rows):.2f} s an epoch"
        return f"{each}; training loss {losses[0]:.4f} in the first and {losses[-1]:.4f} in the last"

    return judge


def training_part(bundle: str, plan: Plan, folder: Path) -> Part:
    """Training of a bundle on its demo data, by the bundle's own command."""
    words = [sys.executable, "-m", "monai.bundle", "run", "training"]
    words += ["--config_file", f"bundles/{bundle}/configs/train.yaml", "--output_dir", str(folder / bundle)]
    words += ["--ckpt_dir", str(folder / bundle / "checkpoints"), *plan.training]
    judge = _judge_training(folder / bundle)
    return Part(f"Training of {bundle}, demo data", words, plan.limits["training"], plan.stop_after, judge)


def test_part(plan: Plan) -> Part:
    """The tests of the Triton backend, on the device (or, in a rehearsal, through the interpreter)."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops/test_triton.py", *plan.tests]
    return Part(TESTS, words, plan.limits["tests"])


def benchmark_parts(plan: Plan, folder: Path) -> list[Part]:
    """Scan and networks in both number formats."""
    parts = []
    for dtype in DTYPES:
        words = [sys.executable, "-m", "benchmarks.scan", "--device", plan.device, "--dtype", dtype, *plan.scan]
        words += ["--no-memory", "--json", str(folder / f"scan_{dtype}.json")]
        parts.append(Part(f"Scan, {dtype}", words, plan.limits["scan"]))
    for dtype in DTYPES:
        words = [sys.executable, "-m", "benchmarks.networks", "--device", plan.device, "--dtype", dtype, *plan.networks]
        words += ["--scans", "blocked", "--no-memory", "--json", str(folder / f"networks_{dtype}.json")]
        parts.append(Part(f"Networks, {dtype}", words, plan.limits["networks"]))
    return parts


def run(plan: Plan, folder: Path) -> list[Result]:
    """All parts; the trainings side by side, the others one after the other and alone."""
    results = []
    missing = available_backends()["triton"]
    if missing:
        failure = missing if plan.device == "cuda" else None
        results.append(Result(TESTS, "", 0.0, "", failure, f"left out: {missing}"))
    else:
        print("tests …", file=sys.stderr)
        results += run_parts([test_part(plan)])
    for part in benchmark_parts(plan, folder):
        print(f"{part.name} …", file=sys.stderr)
        results += run_parts([part])
    print("trainings …", file=sys.stderr)
    return results + run_parts([training_part(bundle, plan, folder) for bundle in BUNDLES])


def card(device: str) -> dict[str, str]:
    """The GPU, its driver and CUDA."""
    if device != "cuda":
        return {"card": "none: a rehearsal on the CPU, whose figures say nothing about a GPU"}
    properties = torch.cuda.get_device_properties(0)
    memory = properties.total_memory / 2**30
    found = {"card": f"{properties.name}, compute capability {properties.major}.{properties.minor}, {memory:.0f} GiB"}
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found["driver"] = subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        found["driver"] = "not known (nvidia-smi does not answer)"
    found["CUDA of PyTorch"] = str(torch.version.cuda)
    return found


def page(system: dict[str, str], results: Sequence[Result]) -> str:
    """The result as a Markdown page."""
    failed = [result.name for result in results if result.failure]
    lines = [f"# {system['time'].split()[0]}, {system['card'].split(',')[0]}", "", heading(system)]
    lines += [f"Failed: {', '.join(failed)}." if failed else "No part failed.", ""]
    lines += ["| part | outcome | s |", "|---|---|---|"]
    for result in results:
        outcome = "**failed**: " + result.failure.splitlines()[0] if result.failure else result.note or "passed"
        lines.append(f"| {result.name} | {outcome} | {result.seconds:.0f} |")
    for result in results:
        if result.output or result.failure:
            lines += ["", f"## {result.name}", "", f"`{result.command}`"]
        if result.failure:
            lines += ["", "Failed:", "", "```text", result.failure, "```"]
        if result.output and not result.name.startswith("Training"):
            table = "| network |" in result.output  # Markdown already
            lines += ["", result.output] if table else ["", "```text", result.output, "```"]
    return "\n".join(lines) + "\n"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="all parts on the CPU with tiny sizes")
    parser.add_argument("--out", type=Path, help="folder of the result (benchmarks/results; a new one for a rehearsal)")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run all parts, write the result, say where it is."""
    options = parse(words)
    reason = missing_gpu()
    if reason and not options.rehearse:
        print(NO_GPU.format(reason=reason), file=sys.stderr)
        return 2
    plan = REHEARSAL if options.rehearse else GPU
    system = describe(torch.get_num_threads(), 9, plan.device) | card(plan.device)
    system["repeats"] = "as each part's command says, interleaved, median"
    system["packages"] = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    with tempfile.TemporaryDirectory() as folder:
        results = run(plan, Path(folder))
        files = {file.stem: json.loads(file.read_text()) for file in Path(folder).glob("*.json")}
    out = options.out or (Path(tempfile.mkdtemp()) if options.rehearse else ROOT / "benchmarks/results")
    out.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", system["card"].split(",")[0].split(":")[0].lower()).strip("-")
    place = out / f"{datetime.now(timezone.utc):%Y-%m-%d}_{name}"
    place.with_suffix(".md").write_text(page(system, results), encoding="utf-8")
    kept = {"system": system, "parts": [asdict(result) for result in results], "benchmarks": files}
    place.with_suffix(".json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    failed = [result.name for result in results if result.failure]
    print(f"{place}.md and .json written; " + (f"failed: {', '.join(failed)}" if failed else "no part failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
