"""Freed memory stays with the process: its pages are not mapped anew for the next tensor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from medssm_monai.utils.kept_memory import OWN_SETTINGS, keep_freed_memory

FAULTS = """
import ctypes, resource, torch
from medssm_monai.utils import keep_freed_memory, prepare_process
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        kept = [torch.ones(1 << 20) for _ in range(6)]  # 24 MiB, 4 MiB each
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for parameter in (-1, -3):  # where malloc starts is its own affair: every larger block is mapped anew
    ctypes.CDLL(None).mallopt(parameter, 1 << 17)
before = faults()
done = keep_freed_memory()
prepare_process()
faults()
print(int(done), before, faults())
"""
with_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than GNU's")


def run_faults(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env={**kept, **variables}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@with_glibc
def test_freed_memory_is_used_again():
    done, before, after = run_faults()
    assert done == 1
    assert before > 100  # 61,440 pages in ten rounds of 24 MiB, 120 where pages are huge
    assert after < before / 10


@with_glibc
def test_a_user_who_decides_himself_wins():
    done, before, after = run_faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert done == 0
    assert after > before / 2


@pytest.mark.parametrize("name", OWN_SETTINGS)
def test_every_setting_of_the_user_counts(name):
    assert keep_freed_memory({name: ""}) is False


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory({}) is False
