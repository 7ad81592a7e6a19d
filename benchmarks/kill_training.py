"""Kill trainings at random moments, go on with the same command, and compare what they leave with a straight one.

    python -m benchmarks.kill_training                             # 20 kills of Mamba-MIS and of MedConvMamba
    python -m benchmarks.kill_training --bundles medspectralnet --kills 5 --seed 3

Each bundle trains a tiny network on its demo set, once straight. Then the same command with ``--resume true`` is
started again and again, as a scheduler would, and killed (SIGKILL of all its processes): at moments drawn evenly over
the life of the straight training, start-up and end among them, and every fourth time as soon as a checkpoint is half
written. A training that ends before its kill is compared with the straight one, and the next begins. After the last
kill one more start brings the training to its end. The exit status is 1 where anything was lost or doubled.

Linux and macOS; folders are below ``--out``, by default a temporary one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from medssm_monai.bundle.publish import DONE
from medssm_monai.handlers.checkpoints import checkpoints_in

from .system import ROOT
from .training_traces import differences, run_folders

TINY = {
    "mamba_mis": ("--variant", "mamba_mis_s", "--network_args", "{'base_dim':8,'d_state':4}"),
    "medconvmamba": ("--network_args", "{'embed_dim':16,'depth':1,'d_state':4}"),
    "medspectralnet": ("--network_args", "{'layers':[1,1,1,1]}"),
}
SHARED = ("--image_size", "[32,32]", "--datalists#demo_counts", "[8,4,4]", "--batch_size", "4", "--device", "cpu")
LONGEST = 600.0  # seconds of one start
HALF = ".checkpoint_epoch=*.{}.part.pt"  # of the process of this number
EVERY = 4  # which kill waits for a half-written checkpoint


@dataclass
class Outcome:
    """What became of a bundle: where its trainings were when they were killed, and what was wrong in the end."""

    bundle: str
    moments: Counter[str] = field(default_factory=Counter)
    trainings: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many there were."""
        return sum(self.moments.values())


class Training:
    """One start of a bundle's training, by its own command, in a session of its own.

    Args:
        bundle: its name.
        folder: gets ``eval``, ``models`` and ``log``.
        words: further options.
    """

    def __init__(self, bundle: str, folder: Path, words: Sequence[str]) -> None:
        self.folder, self.began = folder, time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "monai.bundle", "run", "training"]
        command += ["--config_file", f"bundles/{bundle}/configs/train.yaml", "--output_dir", str(folder / "eval")]
        command += ["--ckpt_dir", str(folder / "models"), *TINY[bundle], *SHARED, *words]
        self.log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began

    def wait(self) -> int:
        """Let it end; returns its exit status."""
        try:
            return self.process.wait(LONGEST)
        finally:
            self.kill()

    def killed(self, moment: float | None) -> bool:
        """Kill it at this second, or with None when a checkpoint is half written; False when it has ended before."""
        while self.process.poll() is None:
            if self.seconds > LONGEST or (moment is not None and self.seconds >= moment):
                break
            if moment is None and any(self.folder.glob(f"eval/*/{HALF.format(self.process.pid)}")):
                break
            time.sleep(0.0005 if moment is None else 0.005)
        ended = self.process.poll() is not None
        self.kill()
        return not ended

    def kill(self) -> None:
        """End all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def where(training: Training) -> str:
    """What a killed training was doing, by what it left."""
    runs = run_folders(training.folder / "eval")
    if not runs:
        return "start-up"
    run = runs[-1]
    if any(run.glob(HALF.format(training.process.pid))):
        return "checkpoint write"
    if (run / DONE).is_file():
        return "after its weights were published"
    if not (run / ".training").is_file():
        return "start-up, with a folder"
    return f"after {next(iter(checkpoints_in(run)), 0)} epochs"


def drawn(kills: int, seed: int, life: float) -> Iterator[float | None]:
    """Moments of kills in seconds after the start; None for a half-written checkpoint."""
    numbers = random.Random(seed)
    for number in range(1, kills + 1):
        moment = numbers.uniform(0.0, life)
        yield None if number % EVERY == 0 else moment


def check(bundle: str, folder: Path, kills: int, seed: int, epochs: int) -> Outcome:
    """Train once straight, then with kills, below ``folder``."""
    words = ["--max_epochs", str(epochs), "--learning_rate", "0.02", "--resume", "true"]
    straight, outcome = folder / "straight", Outcome(bundle)
    for place in (folder / "warm-up", straight):  # kernels are compiled once
        training = Training(bundle, place, words)
        if training.wait():
            outcome.faults.append(f"the straight training failed: {_end_of_log(place)}")
            return outcome
    moments = drawn(kills, seed, training.seconds)
    moment, left = next(moments, None), kills
    while True:
        outcome.trainings += 1
        place = folder / f"killed_{outcome.trainings}"
        training = Training(bundle, place, words)
        while left and training.killed(moment):
            found = where(training)
            outcome.moments[found] += 1
            print(f"{bundle}: kill {outcome.kills} after {training.seconds:.1f} s: {found}", flush=True)
            moment, left = next(moments, None), left - 1
            training = Training(bundle, place, words)
        status = training.wait()
        failed = [f"exit status {status}: {_end_of_log(place)}"] if status else []
        faults = failed or differences(place, straight, bundle)
        outcome.faults += [f"{place.name}: {fault}" for fault in faults]
        said = "; ".join(faults) or "equal to the straight one"
        print(f"{bundle}: training {outcome.trainings} ended, {said}", flush=True)
        if not left:
            return outcome


def _end_of_log(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-2000:]


def table(outcomes: Sequence[Outcome]) -> str:
    """Rows of what happened."""
    lines = ["| bundle | kills | where | trainings | lost or doubled |", "|---|---|---|---|---|"]
    for one in outcomes:
        places = ", ".join(f"{place} {count}" for place, count in sorted(one.moments.items()))
        lines.append(f"| {one.bundle} | {one.kills} | {places} | {one.trainings} | {len(one.faults) or 'nothing'} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundles", nargs="+", choices=sorted(TINY), default=["mamba_mis", "medconvmamba"])
    parser.add_argument("--kills", type=int, default=20, help="of each bundle (default 20)")
    parser.add_argument("--epochs", type=int, default=6, help="of each training (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, help="folder that keeps the trainings")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="medssm-kills-") as temporary:
        folder = Path(temporary) if options.out is None else options.out.absolute()
        outcomes = [
            check(bundle, folder / bundle, options.kills, options.seed, options.epochs) for bundle in options.bundles
        ]
    print(table(outcomes))
    for one in outcomes:
        print(*(f"{one.bundle}: {fault}" for fault in one.faults), sep="\n", end="")
    return int(any(one.faults for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
