"""Steps of a bundle as programs of their own, with the time that they take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from monai.utils import optional_import

__all__ = ["RowError", "Spent", "run_program", "stopwatch"]

resource, has_resource = optional_import("resource")  # not on Windows
PACKAGE_HOME = Path(__file__).resolve().parents[2]
VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow sends usage data otherwise
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for one another by spinning crawl on a machine that is not idle
}
"""Of the programs started, where the user has not set them."""
CLOSING = 90.0  # seconds that a program may take to close after SIGTERM


class RowError(RuntimeError):
    """A row that failed; the message is the last line of its log."""


@dataclass
class Spent:
    """Seconds on the clock, and seconds of processors (user and system, all threads; None where unknown)."""

    wall: float = 0.0
    processor: float | None = None


def _processor() -> float | None:
    """Processor seconds of the programs that have ended."""
    if not has_resource:
        return None
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(usage.ru_utime + usage.ru_stime)


@contextmanager
def stopwatch() -> Iterator[Spent]:
    """The time that the programs started in this block took; it is known after the block, whichever way that ends."""
    spent, start, before = Spent(), time.perf_counter(), _processor()
    try:
        yield spent
    finally:
        after = _processor()
        spent.wall = time.perf_counter() - start
        spent.processor = None if before is None or after is None else after - before


def run_program(
    step: str, files: list[str], folder: Path, further: bool = False, variables: Mapping[str, str] | None = None
) -> None:
    """``python -m monai.bundle run step`` in ``folder``; its output goes to ``step.log`` there.

    Args:
        step: an entry of the configs, ``training`` or ``evaluating``.
        files: config files.
        folder: where it runs.
        further: the output is added to the log of an earlier, interrupted run.
        variables: of the environment, in place of the user's.

    Raises:
        RowError: it failed; the message is the last line of its log.
    """
    log = folder / f"{step}.log"
    paths = [str(PACKAGE_HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("a" if further else "w", encoding="utf8") as stream:
        status = execute(
            [sys.executable, "-m", "monai.bundle", "run", step, "--config_file", str(files)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**VARIABLES, **os.environ, **(variables or {}), "PYTHONPATH": os.pathsep.join(paths)},
        )
    if status:
        lines = [line.strip() for line in log.read_text(encoding="utf8", errors="replace").splitlines()]
        said = next((line for line in reversed(lines) if line), "nothing was said")
        raise RowError(f"{step} ended with exit status {status}: {said} (all of it in {log})")


def execute(command: list[str], stdout: IO[str], **options: Any) -> int:
    """Exit status of a program. What ends the wait, Ctrl-C or SIGTERM, ends the program too: by SIGTERM, so that it
    closes what it has begun; it is waited for."""
    with subprocess.Popen(command, stdout=stdout, start_new_session=True, **options) as program:
        try:
            return program.wait()
        except BaseException:
            program.terminate()
            try:
                program.wait(CLOSING)
            except subprocess.TimeoutExpired:
                program.kill()
            raise
