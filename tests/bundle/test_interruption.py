"""Programs that are really ended by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from medssm_monai.bundle import end_on_signals, interruption, was_interrupted
from medssm_monai.bundle.interruption import Terminated

REPOSITORY = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

WAITING = """
import logging, sys, time
from medssm_monai.bundle import end_on_signals
from medssm_monai.bundle import show_root_cause
logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
show_root_cause()
end_on_signals({arguments})
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("closed", flush=True)
"""


def ended(number: int, arguments: str, cwd: Path, code: str = WAITING) -> tuple[int, str, str]:
    """Exit status as a shell shows it, and both outputs, of a program that got this signal when it was ready."""
    program = textwrap.dedent(code).replace("{arguments}", arguments)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    # a shell that starts a test run in the background lets it ignore Ctrl-C, and so its programs
    restore = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", restore + program],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ready = process.stdout.readline()
    assert ready == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    status = process.returncode
    return (status if status >= 0 else 128 - status), out, err


@posix
@pytest.mark.parametrize(
    ("number", "name", "status"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130)]
)
def test_a_signal_ends_a_run_that_closes_itself_and_says_how_to_go_on(tmp_path, number, name, status):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_epoch=2.pt").touch()
    code, out, err = ended(number, "'run', 'a name'", tmp_path)
    assert code == status
    assert out.splitlines() == ["closed", f"Stopped by {name}. To go on, give resume_from='run' and run_name='a name'."]
    assert err == ""


@posix
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("'run', 'name'", "Stopped by SIGTERM before an epoch was complete: there is nothing to go on from."),
        ("", "Stopped by SIGTERM."),
    ],
)
def test_where_there_is_nothing_to_go_on_from_it_says_so(tmp_path, arguments, line):
    assert ended(signal.SIGTERM, arguments, tmp_path)[1].splitlines() == ["closed", line]


WITH_WORKER = """
import os, signal, time
from medssm_monai.bundle import end_on_signals
end_on_signals()
child = os.fork()
if child == 0:
    time.sleep(60)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print(status, flush=True)
"""


@posix
def test_a_worker_process_ends_as_it_always_did(tmp_path):
    code, out, err = ended(signal.SIGTERM, "", tmp_path, WITH_WORKER)
    assert out.splitlines() == [str(-signal.SIGTERM)]
    assert code == 143
    assert err.strip() == "Stopped by SIGTERM."


@pytest.mark.parametrize(
    ("error", "interrupted"),
    [(KeyboardInterrupt(), True), (Terminated(), True), (SystemExit(1), False), (RuntimeError("x"), False)],
)
def test_which_errors_are_interruptions(error, interrupted):
    assert was_interrupted(error) is interrupted


def test_a_handler_of_the_program_stays(monkeypatch):
    own = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGTERM, own)
    try:
        end_on_signals()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_signals_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            end_on_signals()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert not errors
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("words", "by_monai", "expected"),
    [
        (["--resume", "true"], True, True),
        (["--resume=True"], True, True),
        (["--seed", "1", "--resume"], True, True),
        (["--resume", "False"], True, False),
        (["--resume_from", "true"], True, False),
        (["--resume", "true"], False, False),  # the program's own option
    ],
)
def test_whether_the_same_command_goes_on(monkeypatch, words, by_monai, expected):
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "training", *words])
    monkeypatch.setattr(interruption, "run_by_monai", lambda: by_monai)
    assert interruption._goes_on_by_itself() is expected
