"""How studies are handed out, with pools that only pretend to predict."""

from __future__ import annotations

import io

import pytest

from medssm_monai.apps.bulk.manifest import Manifest
from medssm_monai.apps.bulk.outcome import Outcome
from medssm_monai.apps.bulk.progress import Progress
from medssm_monai.apps.bulk.run import BulkRun, EndsTheRunError
from medssm_monai.apps.bulk.study import Study


class Listed:
    kind = "images"

    def __init__(self, count, wrong=()):
        self.asked = 0
        self.studies = [
            Study(f"k{number}", "s", (f"/in/{number}",), f"{number}", wrong="gone" if number in wrong else "")
            for number in range(count)
        ]

    def __iter__(self):
        for study in self.studies:
            self.asked += 1
            yield study

    def count(self):
        return len(self.studies)


class Pretending:
    """Several workers at once, that die of some studies."""

    here = False

    def __init__(self, deadly=(), workers=3, full=None):
        self.deadly, self.workers, self.full = set(deadly), workers, full
        self.order, self.most = [], 0

    def run(self, take):
        at_work = []
        while True:
            while len(at_work) < self.workers and (study := take()) is not None:
                at_work.append(study)
            if not at_work:
                return
            self.most = max(self.most, len(at_work))
            study = at_work.pop(0)
            self.order.append(study.key)
            if study.key == self.full:
                yield study, Outcome("failed", "the disk is full", ends_the_run=True)
            yield study, None if study.key in self.deadly else Outcome("done", predictions=1)

    def close(self):
        pass


def run_of(source, pool, tmp_path, between=lambda: None):
    manifest = Manifest(tmp_path / "m.sqlite")
    run = BulkRun(source, manifest, tmp_path)
    if run.prepare():
        run.run(pool, Progress(source.count(), 0, "x", io.StringIO()), between)
    return run, {name: count for name, count in manifest.counts().items() if count}


def test_all_are_done_and_those_that_kill_come_last_three_times(tmp_path):
    pool = Pretending(deadly=["k1", "k4"])
    run, counts = run_of(Listed(9), pool, tmp_path)
    assert counts == {"done": 7, "failed": 2} and run.deaths == 6
    assert pool.order[:9] == [f"k{number}" for number in range(9)]
    assert sorted(pool.order[9:]) == ["k1", "k1", "k4", "k4"]


def test_no_more_are_taken_than_there_are_workers_and_the_source_is_read_in_parts(tmp_path):
    source, pool = Listed(2000), Pretending(workers=2)
    seen = []
    run_of(source, pool, tmp_path, lambda: seen.append(source.asked))
    assert pool.most == 2 and len(pool.order) == 2000
    assert seen[0] == 256 and seen[300] == 512


def test_twice_in_a_list_is_done_once_and_what_is_wrong_is_listed(tmp_path):
    source = Listed(4, wrong=[2])
    source.studies.append(source.studies[0])
    pool = Pretending()
    _, counts = run_of(source, pool, tmp_path)
    assert counts == {"done": 3, "failed": 1} and pool.order == ["k0", "k1", "k3"]


def test_a_full_disk_ends_the_run_and_blames_no_study(tmp_path):
    with pytest.raises(EndsTheRunError, match="the disk is full"):
        run_of(Listed(9), Pretending(full="k3"), tmp_path)
    _, counts = run_of(Listed(9), Pretending(), tmp_path)
    assert counts == {"done": 9}


def test_a_stop_lets_those_at_work_end(tmp_path):
    calls = []

    def between():
        calls.append(None)
        if len(calls) > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(Listed(9), Pretending(workers=2), tmp_path, between)
    pool = Pretending()
    _, counts = run_of(Listed(9), pool, tmp_path)
    assert counts == {"done": 9} and pool.order == [f"k{number}" for number in range(4, 9)]


def test_what_left_the_source_is_gone_after_a_whole_pass_and_not_after_a_stopped_one(tmp_path):
    _, counts = run_of(Listed(300, wrong=[299]), Pretending(), tmp_path)
    assert counts == {"done": 299, "failed": 1}

    def between():
        raise KeyboardInterrupt

    class More(Listed):
        def __init__(self):
            super().__init__(900)
            self.studies = self.studies[:200] + self.studies[400:]

    with pytest.raises(KeyboardInterrupt):
        run_of(More(), Pretending(), tmp_path, between)
    assert Manifest(tmp_path / "m.sqlite").counts()["gone"] == 0
    _, counts = run_of(More(), Pretending(), tmp_path)
    assert counts == {"done": 700, "gone": 100}


def test_progress_is_said_in_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    with Progress(10, 4, "x", stream, every=0.0) as progress:
        progress.step(False)
        progress.step(True)
    assert stream.getvalue().splitlines()[-1].startswith("6 of 10 studies, 1 failed, ")
    assert " per second, " in stream.getvalue() and " s left" in stream.getvalue()
