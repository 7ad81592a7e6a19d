"""Parts of a longer check: programs with a time limit each, whose failure does not stop the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from .system import ROOT

__all__ = ["Part", "Result", "run_parts"]

LONGEST = 20_000  # characters of an output that are kept, from its end


@dataclass(frozen=True)
class Part:
    """A program and how long it may take.

    Attributes:
        name: heading in the result.
        command: words of the program.
        limit: seconds after which it is ended, with all that it started: a failure.
        stop_after: seconds after which it is asked to stop (SIGTERM), as planned: no failure.
        judge: looks at what the program left, returns a line for the result, and raises ``AssertionError`` with the
            reason when that is not good.
    """

    name: str
    command: Sequence[str]
    limit: float
    stop_after: float | None = None
    judge: Callable[[], str] | None = None


@dataclass(frozen=True)
class Result:
    """What came of a part: ``failure`` is None where all went well."""

    name: str
    command: str
    seconds: float
    output: str
    failure: str | None
    note: str = ""


def shown(command: Sequence[str]) -> str:
    """A command as it would be typed: without the folder of this Python."""
    return " ".join("python" if word == sys.executable else word for word in command)


class _Running:
    def __init__(self, part: Part, environment: Mapping[str, str]) -> None:
        self.part, self.start = part, time.monotonic()
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  # output, errors; read at the end
        self.failure: str | None = None
        self.asked = False
        self.process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=self.files[0],
            stderr=self.files[1],
            start_new_session=True,
        )

    def ended(self) -> bool:
        """Look after it: whether it has ended, by itself or since its time was up."""
        passed = time.monotonic() - self.start
        if self.process.poll() is None and passed > self.part.limit:
            self.failure = f"not done after {self.part.limit:.0f} s"
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        elif not self.asked and self.part.stop_after is not None and passed > self.part.stop_after:
            self.asked = True
            self.process.terminate()
        return self.process.poll() is not None

    def result(self) -> Result:
        passed = time.monotonic() - self.start
        output, errors = (self._text(file) for file in self.files)
        status, failure, note = self.process.returncode, self.failure, ""
        if failure is None and status not in ((0, 128 + signal.SIGTERM) if self.asked else (0,)):
            failure = f"exit status {status}"
        if failure is None and self.part.judge:
            try:
                note = self.part.judge()
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
        if failure is not None:
            failure = f"{failure}\n{errors[-4000:] or output[-4000:]}".strip()
        return Result(self.part.name, shown(self.part.command), passed, output[-LONGEST:].strip(), failure, note)

    @staticmethod
    def _text(file: IO[bytes]) -> str:
        file.seek(0)
        text = file.read().decode(errors="replace")
        file.close()
        return text


def run_parts(parts: Sequence[Part], environment: Mapping[str, str] | None = None) -> list[Result]:
    """Run parts side by side until each has ended; for one after the other, call it for each."""
    running = []
    results: dict[str, Result] = {}
    for part in parts:
        try:
            running.append(_Running(part, environment or {}))
        except OSError as error:
            results[part.name] = Result(part.name, shown(part.command), 0.0, "", f"cannot be started: {error}")
    while running:
        for one in [one for one in running if one.ended()]:
            results[one.part.name] = one.result()
            running.remove(one)
        time.sleep(0.2)
    return [results[part.name] for part in parts]
