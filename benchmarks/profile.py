"""Where the time of each network goes, beside the least that its arithmetic and its memory traffic would take.

    python -m benchmarks.profile                                        # all four networks, sizes of their pages
    python -m benchmarks.profile --names mamba_mis_s --size 128 --operators 20
    python -m benchmarks.profile --threads 1 --json profile.json

One row per network and pass. "ms" is a batch without the profiler, the median of the repeats. The columns by kind of
work are the own times of operators of that kind in as many profiled passes, each in turn with one of the others
(``kinds_of_work.py`` says which operator belongs where); "dispatch" is what is left of "ms": Python, autograd, views,
memory given and taken back.

The floors are those of rates measured in the same run. "products": multiply-accumulates of all convolutions and matrix
products over the rate of a large matrix product (three times as many for a training step). "exponentials": of the
scans, over the rate of the vectorized exponential (twice as many). "memory": inputs, outputs and weights of the modules
(three times for a training step) over the triad's bandwidth; small maps stay in cache, where this is no bound. "floors"
is "ms" over the larger of products + exponentials and memory, in brackets that of the least of the repeats.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from medssm_monai.networks.complexity import count_complexity

from .floors import Floor, Rates, measure_rates, module_bytes
from .kinds_of_work import DISPATCH, KINDS, kind_of, milliseconds_by_kind
from .network_rows import INFERENCE, TRAINING
from .network_sizes import DOCUMENTED, Group, build, image_shape, known_networks
from .pipe import seconds
from .system import describe, heading

Operators = list[tuple[str, int, float]]


def step(net: torch.nn.Module, x: torch.Tensor, kind: str) -> Callable[[], None]:
    """A closure that runs the network once."""
    net.train(kind != INFERENCE)

    def inference() -> None:
        with torch.no_grad():
            net(x)

    def training() -> None:
        net(x).float().square().mean().backward()
        net.zero_grad(set_to_none=True)

    return inference if kind == INFERENCE else training


def profiled(call: Callable[[], None]) -> tuple[dict[str, float], Operators]:
    """Milliseconds by kind of work, and the working operators with their calls and milliseconds, longest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        call()
    events = profiler.key_averages()
    rows = [(event.key, event.count, event.self_cpu_time_total / 1e3) for event in events]
    return milliseconds_by_kind(events), sorted(rows, key=lambda row: -row[2])


def measure(name: str, group: Group, options: argparse.Namespace, rates: Rates) -> list[dict[str, Any]]:
    """One row for each pass of a network."""
    net, shape = build(name, group.size), image_shape(name, group.size)
    x = torch.rand(group.batch, *shape, generator=torch.Generator().manual_seed(0))
    cost, moved, rows = count_complexity(net, shape), module_bytes(net, x), []
    for kind in options.passes:
        call = step(net, x, kind)
        call()
        profiled(call)  # the profiler's own first time
        times, parts, operators = [], [], []
        for _ in range(options.repeats):
            times.append(1e3 * seconds(call))
            part, operators = profiled(call)
            parts.append(part)
        whole = statistics.median(times)
        work = {kind: statistics.median(part[kind] for part in parts) for kind in KINDS if kind != DISPATCH}
        floor = Floor.of(cost, group.batch, moved, rates, kind != INFERENCE)
        row = {"network": name, "size": group.size, "batch": group.batch, "pass": kind, "ms": whole}
        row |= {"ms_min": min(times), "work_ms": work | {DISPATCH: max(whole - sum(work.values()), 0.0)}}
        row |= {"operator_calls": sum(count for key, count, _ in operators if kind_of(key) != DISPATCH)}
        row |= {"floor_ms": asdict(floor), "floors": whole / floor.milliseconds}
        row |= {"floors_min": min(times) / floor.milliseconds, "operators": operators}
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as two Markdown tables: where the time goes, and the floors."""
    kinds = [kind for kind in KINDS if any(row["work_ms"][kind] > 0 for row in rows)]
    lines = [f"| network | pass | ms | {' | '.join(kinds)} | working operators |", "|---" * (len(kinds) + 4) + "|"]
    for row in rows:
        row["label"] = f"{row['network']}, {row['size']}, batch {row['batch']}"
        cells = [f"{row['work_ms'][kind]:.1f} ({row['work_ms'][kind] / row['ms']:.0%})" for kind in kinds]
        lines.append(
            f"| {row['label']} | {row['pass']} | {row['ms']:.1f} | {' | '.join(cells)} | {row['operator_calls']} |"
        )
    lines += ["", "| network | pass | ms (least) | products | exponentials | memory | floors |", "|---" * 7 + "|"]
    for row in rows:
        parts = " | ".join(f"{row['floor_ms'][part]:.2f}" for part in ("products", "exponentials", "memory"))
        times = f"{row['ms']:.1f} ({row['ms_min']:.1f})"
        floors = f"{row['floors']:.1f} ({row['floors_min']:.1f})"
        lines.append(f"| {row['label']} | {row['pass']} | {times} | {parts} | {floors} |")
    return "\n".join(lines)


def longest(row: dict[str, Any], count: int) -> str:
    """The operators of a row that take longest, as a Markdown table."""
    lines = [
        f"{row['network']}, {row['pass']}, one profiled pass:",
        "",
        "| operator | kind | calls | ms |",
        "|---" * 4 + "|",
    ]
    lines += [f"| `{key}` | {kind_of(key)} | {calls} | {ms:.2f} |" for key, calls, ms in row["operators"][:count]]
    return "\n".join(lines)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=known_networks(), help="default: all of the documented ones")
    parser.add_argument("--size", type=int, help="only the documented networks of this size; with --batch: any")
    parser.add_argument("--batch", type=int, help="images a batch, in place of the documented ones")
    parser.add_argument("--passes", nargs="+", default=[INFERENCE, TRAINING], choices=[INFERENCE, TRAINING])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--operators", type=int, default=0, metavar="N", help="also list the N longest operators")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    return parser.parse_args(words)


def groups_of(options: argparse.Namespace) -> list[Group]:
    """The documented sizes of the names, or the one that is given."""
    if options.names and options.size and options.batch:
        return [Group(options.names, options.size, options.batch)]
    return [
        Group(names, group.size, options.batch or group.batch)
        for group in DOCUMENTED
        if (names := [name for name in group.names if options.names is None or name in options.names])
        and options.size in (None, group.size)
    ]


def main() -> int:
    """Measure, print the tables, write the JSON."""
    options = parse()
    torch.set_num_threads(options.threads)
    system = describe(options.threads, options.repeats)
    rates = measure_rates(options.threads)
    system["rates"] = str(rates)
    print(heading(system), flush=True)
    rows = []
    for group in groups_of(options):
        for name in group.names:
            rows += measure(name, group, options, rates)
            print(f"measured: {name}, {group.size}", file=sys.stderr)
    if not rows:
        print("no documented network has that name and size; give --batch as well for another size.", file=sys.stderr)
        return 2
    print(table(rows))
    for row in rows if options.operators else []:
        print("\n" + longest(row, options.operators))
    if options.json:
        options.json.write_text(json.dumps({"system": system, "rates": asdict(rates), "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
