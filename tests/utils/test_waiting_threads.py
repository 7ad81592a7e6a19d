from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from medssm_monai.utils import waiting_threads
from medssm_monai.utils.waiting_threads import OWN_SETTINGS, idle_threads, sleep_while_waiting

COUNT = """
import os, torch
from medssm_monai.utils import sleep_while_waiting
matrix = torch.rand(400, 400, generator=torch.Generator().manual_seed(0))
before, product = len(os.listdir("/proc/self/task")), matrix @ matrix
before = len(os.listdir("/proc/self/task"))
first, again = sleep_while_waiting(), sleep_while_waiting()
more = len(os.listdir("/proc/self/task")) - before
assert torch.equal(matrix @ matrix, product)
child = os.fork()
if child == 0:
    os._exit(sleep_while_waiting())
print(first, again, more, torch.get_num_threads(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
with_libgomp = pytest.mark.skipif(waiting_threads.libgomp() is None, reason="PyTorch computes with another runtime")


def run_count(**variables):
    """Begun threads by two calls, more threads of the process, PyTorch's threads, and the answer in a forked child."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env={**kept, **variables}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(("processors", "threads"), [(2, 2), (8, 8), (16, 8), (64, 32), (4, 3)])
def test_there_are_more_threads_than_processors_then(processors, threads):
    count = idle_threads(processors, threads, {})
    assert count >= 1
    assert threads + count == processors + 1  # one more than there are processors, and none beyond


@pytest.mark.parametrize("threads", [4, 9])
def test_more_threads_than_processors_already(threads):
    assert idle_threads(3, threads, {}) == 0


def test_one_thread_waits_for_none():
    assert idle_threads(8, 1, {}) == 0


@pytest.mark.parametrize("name", OWN_SETTINGS)
@pytest.mark.parametrize("value", ["ACTIVE", "PASSIVE", "0", ""])
def test_a_user_who_decides_himself_wins(name, value):
    assert idle_threads(8, 8, {name: value}) == 0


def test_another_runtime_is_left_alone(monkeypatch):
    monkeypatch.setattr(waiting_threads, "libgomp", lambda: None)
    monkeypatch.setattr(waiting_threads, "_idle", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert sleep_while_waiting() == 0


@with_libgomp
def test_threads_are_begun_once_and_results_and_number_of_threads_stay():
    threads = len(os.sched_getaffinity(0))
    wanted = idle_threads(threads, max(2, threads), {})
    first, again, more, computing, child = run_count(OMP_NUM_THREADS=str(max(2, threads)))
    assert (first, again, computing, child) == (wanted, wanted, max(2, threads), wanted)
    assert more == (wanted + 1 if wanted else 0)  # and the thread that holds them


@with_libgomp
@pytest.mark.parametrize(
    "variables", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}, {"OMP_NUM_THREADS": "1"}]
)
def test_nothing_is_begun_where_the_user_has_decided(variables):
    first, again, more, _, child = run_count(**{"OMP_NUM_THREADS": "2", **variables})
    assert (first, again, more, child) == (0, 0, 0, 0)
