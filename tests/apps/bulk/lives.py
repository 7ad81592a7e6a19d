"""Lives of the command, each a process of its own that is killed or ends: python -m tests.apps.bulk.lives WHAT WORDS.

The package is imported once; each life is forked from the process that did it, and computes for itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from medssm_monai.apps.bulk.main import main
from medssm_monai.apps.bulk.worker import StudyWorker


def life(words: list[str], before: Callable[[], None] = lambda: None) -> int:
    """Begin a life; returns its process."""
    process = os.fork()
    if not process:
        before()
        os._exit(main(words))
    return process


def ended(process: int) -> int:
    """Exit status of a life, minus the signal that ended it."""
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def finished(out: Path) -> int:
    return sum(1 for _ in out.glob("results/*/*/result.json"))


def three_kills(words: list[str]) -> dict[str, object]:
    """Three lives that are killed once some more studies are done, and one that ends."""
    out, draw, killed = Path(words[2]), random.Random(5), []
    for _ in range(3):
        goal, process = finished(out) + draw.randint(1, 8), life(words)
        while finished(out) < goal:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.02))
        os.kill(process, signal.SIGKILL)
        killed.append(ended(process))
    return {"killed": killed, "left": finished(out), "last": ended(life(words))}


def poisoned(words: list[str]) -> dict[str, object]:
    """Five lives with a study that ends its process."""

    def before() -> None:
        predict = StudyWorker.predict

        def deadly(self, study):
            if study.files[0].endswith("image 3.png"):
                os.kill(os.getpid(), signal.SIGKILL)
            return predict(self, study)

        StudyWorker.predict = deadly

    return {"ended": [ended(life(words, before)) for _ in range(5)]}


if __name__ == "__main__":
    what = {"three_kills": three_kills, "poisoned": poisoned}[sys.argv[1]]
    print(json.dumps(what(sys.argv[2:])))
