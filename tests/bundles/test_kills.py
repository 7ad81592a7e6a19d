"""Three kills of one training: the same start goes on each time, and leaves what an uninterrupted one leaves.

``python -m benchmarks.kill_training`` does the same at random moments, with the bundles' own commands.
"""

from __future__ import annotations

import os
import signal

import pytest

from benchmarks.training_traces import differences, run_folders

from .killed import BEFORE_PUBLISHING, IN_A_CHECKPOINT, IN_AN_EPOCH, status_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by signals of POSIX")


def test_nothing_is_lost_and_nothing_doubled_by_three_kills(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert status_of(straight, None) == 0
    for moment, epoch in ((IN_AN_EPOCH, 1), (IN_A_CHECKPOINT, 2), (BEFORE_PUBLISHING, 3)):
        assert status_of(killed, moment, epoch) == -signal.SIGKILL
        (run,) = run_folders(killed / "eval")
        assert any(run.glob(".checkpoint_epoch=2.*.part.pt")) is (moment == IN_A_CHECKPOINT)
        assert differences(killed, straight, "mamba_mis")
    assert status_of(killed, None) == 0
    assert differences(killed, straight, "mamba_mis") == []
