"""Bulk inference by the number of images and of workers: seconds, memory, size of the manifest.

    python -m benchmarks.bulk_scaling --counts 200 500 1000 2000
    python -m benchmarks.bulk_scaling --workers 1 2 --images 400 --repeat 3

Pictures of 28 pixels through MedConvMamba and its shipped weights. The first command takes one process on one thread, a
new one for each count: seconds from the first study to the last, processor seconds with the start, the most memory of
the process, the files that lie there in the end. The second one compares workers of Ray, one thread each, in turns.
``--size`` and ``--bundle`` take larger pictures and other networks.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .bulk_images import write_images


def measured(bundle: str, images: Path, out: Path, *more: str) -> dict[str, Any]:
    """One run of the command: what it says about itself."""
    words = [sys.executable, "-m", "medssm_monai.apps.bulk", bundle, str(images), str(out), *more]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "bulk.json").read_text(encoding="utf8"))


def by_count(bundle: str, counts: list[int], size: int, place: Path) -> None:
    """Print a table of runs over more and more images."""
    columns = ["images", "seconds", "ms per image", "processor seconds of the command", "most memory (MB)"]
    columns += ["manifest (kB)", "results (MB)"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for count in counts:
        images = write_images(place / f"in{count}", count, size)
        out = place / f"out{count}"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = measured(bundle, images, out, "--workers", "1", "--threads", "1")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        run = found["this run"]
        stored = sum(path.stat().st_size for path in (out / "results").rglob("*") if path.is_file()) / 1e6
        figures = [
            f"{run['seconds']:.1f}",
            f"{1000 * run['seconds'] / count:.1f}",
            f"{busy:.1f}",
            f"{run['peak memory of a worker (MB)']:.0f}",
            f"{1000 * found['manifest (MB)']:.0f}",
            f"{stored:.2f}",
        ]
        print(f"| {count} | {' | '.join(figures)} |", flush=True)


def by_workers(bundle: str, workers: list[int], count: int, size: int, repeat: int, place: Path) -> None:
    """Print the rates of different numbers of workers, in turns."""
    images = write_images(place / "in", count, size)
    rates: dict[int, list[float]] = {number: [] for number in workers}
    for turn in range(repeat):
        for number in workers:
            more = ["--workers", str(number), "--threads", "1"]
            found = measured(bundle, images, place / f"out{turn}-{number}", *more)
            rates[number].append(found["this run"]["studies per second"])
            print(f"turn {turn + 1}, {number} worker(s): {rates[number][-1]:.2f} per second", flush=True)
    first = statistics.median(rates[workers[0]])
    for number in workers:
        middle = statistics.median(rates[number])
        print(f"{number} worker(s): median {middle:.2f} per second, {middle / first:.2f} times {workers[0]}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="medconvmamba")
    parser.add_argument("--counts", type=int, nargs="+")
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medssm-scaling-") as folder:
        if options.counts:
            by_count(options.bundle, options.counts, options.size, Path(folder))
        if options.workers:
            by_workers(options.bundle, options.workers, options.images, options.size, options.repeat, Path(folder))


if __name__ == "__main__":
    main()
