"""One training at a time in a run's folder; one that was killed leaves it free."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from monai.bundle import ConfigParser

from medssm_monai.bundle import claim_run, release_run

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from medssm_monai.utils import claim_run
claim_run(sys.argv[1])
print("claimed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has claimed ``tmp_path / "run"`` and waits."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout.readline().strip() == "claimed"
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_until_its_training_is_dead(tmp_path, holder, caplog):
    with pytest.raises(RuntimeError, match=rf"training is running.*process {holder.pid} on .*--run_name"):
        claim_run(tmp_path / "run")
    holder.kill()
    holder.wait()
    with caplog.at_level("INFO"):
        claim_run(tmp_path / "run")
    assert f"process {holder.pid}" in caplog.text and "taken over" in caplog.text
    release_run(tmp_path / "run")


def test_a_process_may_claim_again_and_give_back(tmp_path):
    for _ in range(2):
        claim_run(tmp_path)
    for _ in range(2):
        release_run(tmp_path)
    assert not (tmp_path / ".training").exists()


def in_a_thread(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments)


def test_two_threads_of_a_process_do_not_share_a_folder(tmp_path):
    started, stop = Event(), Event()

    def train():
        claim_run(tmp_path)
        started.set()
        stop.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(train)
        started.wait()
        with pytest.raises(RuntimeError, match=rf"training is running.*process {os.getpid()}"):
            claim_run(tmp_path)
        stop.set()
    claim_run(tmp_path)  # that thread has ended without giving it back
    in_a_thread(release_run, tmp_path).result()
    claim_run(tmp_path)  # given back by another thread
    release_run(tmp_path)


def test_a_workflow_may_go_on_in_another_thread(tmp_path):
    parser = ConfigParser({"claim": f"$__import__('medssm_monai').utils.claim_run({str(tmp_path)!r})"})
    parser.get_parsed_content("claim")
    parser.ref_resolver.reset()
    in_a_thread(parser.get_parsed_content, "claim").result()
    release_run(tmp_path)
