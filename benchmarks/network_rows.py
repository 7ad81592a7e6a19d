"""The rows of ``benchmarks.networks``: comparison of the versions first, then interleaved times, then memory."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from .comparison_networks import COMPARISONS
from .differences import Difference, difference
from .network_sides import Side, network_of, suffix_of
from .network_sizes import Group

__all__ = ["INFERENCE", "TRAINING", "compared", "measure", "table"]

INFERENCE, TRAINING = "inference", "training step"


def compared(name: str, kind: str, sides: list[Side]) -> tuple[Difference, Difference]:
    """Difference of our results from those of before, and of those from their own after one rounding of the input."""
    ours, before = sides
    theirs = name + before.suffix
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, part)) for part in ("ours", "before", "nudged")]
        ours.child.ask("results", name=name, kind=kind, path=files[0])
        before.child.ask("results", name=theirs, kind=kind, path=files[1])
        before.child.ask("results", name=theirs, kind=kind, path=files[2], nudged=True)
        mine, earlier, nudged = (torch.load(file, weights_only=True) for file in files)
    return difference(mine, earlier), difference(nudged, earlier)


def _load(group: Group, options: argparse.Namespace, sides: list[Side]) -> dict[str, Side]:
    """Build the networks of a group; the rows in the order of the table, with the side that runs each."""
    ours, rows = sides[0], {}
    for name in group.names:
        ours.load(name, group)
        rows[name] = ours
        for before in sides[1:]:
            with tempfile.TemporaryDirectory() as folder:
                weights = Path(folder, "weights.pt")
                ours.child.ask("save", name=name, weights=str(weights))
                before.load(name + before.suffix, group, weights)
            rows[name + before.suffix] = before
    scans = [name + suffix_of(backend) for name in group.names for backend in options.scans]
    for name in [*scans, *group.compare]:
        ours.load(name, group)
        rows[name] = ours
    return rows


def _times(rows: dict[str, Side], kind: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of every repeat: each round runs every row once, every second round in the opposite order."""
    times: dict[str, list[float]] = {row: [] for row in rows}
    for row, side in rows.items():
        side.child.ask("time", name=row, kind=kind)  # compiles or loads kernels: says nothing about how long a call is
    for turn in range(repeats):
        for row, side in list(rows.items())[:: -1 if turn % 2 else 1]:
            times[row].append(side.child.ask("time", name=row, kind=kind))
    return times


def measure(group: Group, options: argparse.Namespace, sides: list[Side]) -> list[dict[str, Any]]:
    """One row per network and kind of pass."""
    rows = _load(group, options, sides)
    costs = {row: sides[0].child.ask("cost", name=row) for row in [*group.names, *group.compare]}
    found = []
    for kind in options.passes:
        apart = {name: compared(name, kind, sides) for name in group.names} if len(sides) > 1 else {}
        times = _times(rows, kind, options.repeats)
        medians = {row: statistics.median(values) for row, values in times.items()}
        for row, side in rows.items():
            name = network_of(row)
            new = {"network": row, "pass": kind, "size": group.size, "batch": group.batch}
            new |= costs[name]
            new |= {"milliseconds": 1e3 * medians[row]}
            new |= {"milliseconds_min": 1e3 * min(times[row]), "images_per_second": group.batch / medians[row]}
            new["times_the_first"] = medians[next(iter(rows))] / medians[row]
            new["scan_share"] = None
            if name not in COMPARISONS:
                new["scan_share"] = side.child.ask("scan_share", name=row, kind=kind)
            new["peak_mib"] = side.peak(row, group, kind) / 2**20 if options.memory else None
            if row in apart:
                new["times_before"] = medians[row + sides[1].suffix] / medians[row]
                ours, rounding = apart[row]
                new |= {"difference": ours[0], "worst_difference": ours[1], "worst_tensor": ours[2]}
                new |= {"rounding": rounding[0], "worst_rounding": rounding[1]}
            found.append(new)
    for row, side in rows.items():
        side.child.ask("forget", name=row)
    return found


def _pair(row: dict[str, Any], key: str, yardstick: str) -> str:
    return f"{row[key]:.1e} ({row[yardstick]:.1e})" if key in row else ""


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    head = ["network", "pass", "parameters", "GMAC", "ms a batch", "images/s", "speed, first = 1", "in the scan"]
    with_memory, with_before = rows[0]["peak_mib"] is not None, any("times_before" in row for row in rows)
    head += ["peak MiB"] if with_memory else []
    head += ["speed, before = 1", "difference", "worst tensor"] if with_before else []
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["network"], row["pass"], f"{row['parameters']:,}", f"{row['gmac']:.3f}"]
        cells += [
            f"{row['milliseconds']:.1f} ({row['milliseconds_min']:.1f})",
            f"{row['images_per_second']:.2f}",
            f"{row['times_the_first']:.3g}",
        ]
        cells.append("" if row["scan_share"] is None else f"{row['scan_share']:.0%}")
        cells += [f"{row['peak_mib']:.0f}"] if with_memory else []
        if with_before:
            cells.append(f"{row['times_before']:.2f}" if "times_before" in row else "")
            cells += [_pair(row, "difference", "rounding"), _pair(row, "worst_difference", "worst_rounding")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
