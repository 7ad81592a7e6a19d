"""Bulk inference killed at random moments: whether every study has exactly one complete result in the end.

    python -m benchmarks.bulk_kills --kills 20 --studies 400

Runs the command once undisturbed, in one process. Then again, with two workers of Ray, into another folder: at random
moments a worker, the process that hands out the studies, or both are killed (SIGKILL), and the command is started anew
where it has ended. In the end every study must have one result, byte for byte that of the undisturbed run, and nothing
else may lie there. ``--plain`` kills the one process that works without Ray. Exit status 1 where this does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from medssm_monai.apps.bulk import main
from medssm_monai.apps.bulk import ray_pool as _ray_pool  # noqa: F401  imported before the first fork
from medssm_monai.apps.bulk.work import SHARED
from medssm_monai.bundle import predictor as _predictor  # noqa: F401

from .bulk_images import write_images

LONGEST = 900.0  # seconds that nothing may happen for


def digests(out: Path) -> dict[str, str]:
    """Every file below the results, with its SHA-256."""
    files = sorted(path for path in (out / "results").rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def states(out: Path) -> Counter[str]:
    """Number of studies in each state, as the manifest has them."""
    try:
        with sqlite3.connect(f"file:{out / 'manifest.sqlite'}?mode=ro", uri=True, timeout=10) as database:
            return Counter(dict(database.execute("SELECT state, COUNT(*) FROM studies GROUP BY state")))
    except sqlite3.Error:
        return Counter()


def descendants(process: int) -> list[int]:
    """Workers of Ray that belong to a process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [process]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found += below
    return [one for one in found if is_worker(one)]


def is_worker(process: int) -> bool:
    """Whether a process is a worker of Ray that predicts studies."""
    try:
        return (Path("/proc") / str(process) / "cmdline").read_bytes().startswith(b"ray::StudyWorker")
    except OSError:
        return False


class Life:
    """The command in a process of its own, forked from this one, which has imported the package and does no more."""

    def __init__(self, words: list[str]) -> None:
        self.status: int | None = None
        self.process = os.fork()
        if not self.process:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os._exit(main(words))

    def poll(self) -> int | None:
        """Exit status; None while it runs."""
        if self.status is None and (ended := os.waitpid(self.process, os.WNOHANG))[0]:
            self.status = os.waitstatus_to_exitcode(ended[1])
        return self.status

    def wait(self) -> int:
        """Wait for its end; returns the exit status."""
        while self.poll() is None:
            time.sleep(0.05)
        return self.status or 0

    def kill(self) -> None:
        """End it by SIGKILL."""
        os.kill(self.process, signal.SIGKILL)
        self.wait()


def kill(what: str, process: Life, draw: random.Random) -> bool:
    """Kill a worker, the driver, or both; False where there is no worker yet."""
    workers = descendants(process.process) if what != "driver" else []
    if what != "driver" and not workers:
        return False
    if workers:
        try:
            os.kill(draw.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            return False
    if what != "worker":
        process.kill()
    return True


def killed_run(
    words: list[str], out: Path, kills: int, draw: random.Random, kinds: list[str]
) -> tuple[Counter[str], int]:
    """Go on until all is done; returns how often what was killed, and how often the command was started."""
    done: Counter[str] = Counter()
    starts = 0
    process: Life | None = None
    while True:
        if process is None or process.poll() is not None:
            if process is not None and process.status in (0, 3):
                return done, starts
            process = Life(words)
            starts += 1
        if sum(done.values()) >= kills:
            process.wait()
            continue
        if draw.random() < 0.2:
            time.sleep(draw.uniform(0, 20))  # whatever it does then: imports, Ray's start, the model
        else:
            wait_for_progress(process, out, draw.randint(1, 15))
            time.sleep(draw.uniform(0, 0.3))
        what = draw.choice(kinds)
        if process.poll() is None and kill(what, process, draw):
            done[what] += 1
            print(f"kill {sum(done.values())}: {what}, {dict(states(out))}", flush=True)


def wait_for_progress(process: Life, out: Path, studies: int) -> None:
    """Wait until so many more studies are done, or the command has ended."""
    goal = states(out)["done"] + studies
    until = time.monotonic() + LONGEST
    while process.poll() is None and states(out)["done"] < goal and time.monotonic() < until:
        time.sleep(0.05)


def run() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="medconvmamba")
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="one process, without Ray")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medssm-kills-") as folder:
        place = Path(folder)
        images = write_images(place / "in", options.studies)
        Life([options.bundle, str(images), str(place / "quiet"), "--workers", "1"]).wait()
        (place / "killed").mkdir()
        shutil.copy(place / "quiet" / SHARED, place / "killed")  # the secret: the same names of the results
        words = [options.bundle, str(images), str(place / "killed"), "--workers", "1" if options.plain else "2"]
        started = time.monotonic()
        draw = random.Random(options.seed)
        kinds = ["driver"] if options.plain else ["worker", "worker", "worker", "driver", "both"]
        kills, starts = killed_run(words, place / "killed", options.kills, draw, kinds)
        quiet, killed = digests(place / "quiet"), digests(place / "killed")
        counts = states(place / "killed")
        right = killed == quiet and counts == Counter(done=options.studies)
        print(f"{sum(kills.values())} kills ({dict(kills)}), {starts} starts, {time.monotonic() - started:.0f} s")
        print(f"states: {dict(counts)}; files: {len(killed)} of {len(quiet)}, the same bytes: {killed == quiet}")
        if not right:
            others = sorted(name for name in {*quiet, *killed} if quiet.get(name) != killed.get(name))
            print(f"WRONG: {others[:10]}")
    return int(not right)


if __name__ == "__main__":
    sys.exit(run())
