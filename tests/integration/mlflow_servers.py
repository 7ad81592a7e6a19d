"""MLflow's programs on the loopback interface."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..waiting import wait_for
from .label_server import REPOSITORY


@contextmanager
def running(words: list[str], folder: Path, name: str, **environment: str) -> Iterator[subprocess.Popen]:
    """A program of MLflow, killed with all that it started after the block; what it says is in ``<name>.log``."""
    variables = {**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)}
    with (folder / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=folder,
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen, how: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a program and all that it started, and wait for the end where that is one."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:  # it has ended already
        return
    if how == signal.SIGKILL:
        process.wait()


def wait_until_it_answers(address: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until an address answers, but not for a program that has ended."""

    def answers() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return True
        except OSError:
            return False

    wait_for(f"answer of {address}", answers, show=lambda: log.read_text()[-3000:], pause=0.3, process=process)


def tracking(port: int, store: str, artifacts: Path) -> list[str]:
    """Words of the tracking server; its store is an address, of SQLite or PostgreSQL."""
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*words, "--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
