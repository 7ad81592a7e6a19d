"""A program in a process of its own, which a benchmark asks one thing at a time over a pipe.

So that two versions, or two environments, are measured in turn within one run: while one side computes, the other waits
for its line and takes no processor time. Each side times itself. One request is one line of JSON, and so is its answer.

This file needs the standard library alone, because the other side may run in an environment that has nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Child", "ChildError", "seconds", "serve"]

TAIL = 4000  # characters of a program's error output that an error shows
BRIEF = 0.5  # seconds; a call that takes less runs untimed before it is timed
WARM_UP = 0.05  # seconds


class ChildError(RuntimeError):
    """What was asked of the other process failed; the message holds its text."""


class Child:
    """A live program that answers to :meth:`ask` until it is closed.

    Args:
        name: how errors call it.
        program: the file, which ends in a call of :func:`serve`.
        python: interpreter that runs it; default: this one.
        environment: variables that it gets beside those of this process.
    """

    def __init__(
        self,
        name: str,
        program: Path,
        python: str | Path = sys.executable,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the program
        try:
            self._process = subprocess.Popen(
                [str(python), str(program), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise ChildError(f"{name}: {python} cannot be started: {error}.") from error

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have a command of the program run, and return its answer.

        Raises:
            ChildError: when the command failed (with its traceback) or the program has ended (with its last words).
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([command, arguments]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ChildError(f"{self.name} ended with status {self._process.wait()}:\n{self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self.name}, {command}:\n{answer['error']}")
        return answer["value"]

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-TAIL:].strip()

    def close(self) -> None:
        """End the program: it stops where its requests end."""
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(commands: Mapping[str, Callable[..., Any]]) -> None:
    """The other side: answer requests until there are no more. What is printed meanwhile goes to the error output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # below Python too: libraries print
    for line in sys.stdin:
        command, arguments = json.loads(line)
        try:
            answer = {"value": commands[command](**arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def seconds(call: Callable[[], object], finish: Callable[[], object] = lambda: None, warm_up: float = WARM_UP) -> float:
    """Seconds of one call, up to the end of ``finish``.

    A brief call runs untimed for ``warm_up`` seconds first: wakes threads, fills caches, brings back memory given away.
    """

    def once() -> float:
        start = time.perf_counter()
        call()
        finish()
        return time.perf_counter() - start

    end = time.perf_counter() + warm_up
    last = once()
    if last > BRIEF:
        return last
    while time.perf_counter() < end:
        once()
    return once()
