"""The worker, with stand-ins for Orthanc and the engine; tests/integration has both."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from medssm_monai.apps.dicom.in_orthanc.rules import content_of
from medssm_monai.apps.dicom.in_orthanc.study_queue import StudyQueue
from medssm_monai.apps.dicom.orthanc_client import Gone, OrthancClient, Refused, Unreachable
from medssm_monai.apps.dicom.worker import Worker, WorkerOptions

from ...dicom.objects import require_libraries
from ...waiting import PATIENCE, wait_for
from .stand_in import StandIn

require_libraries()


class Client:
    """Series by Orthanc's identifier; ``fail`` is raised by what it names, once for each time it stands there."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.series: dict[str, list[str]] = {}
        self.stored: list[bytes] = []
        self.sent: list[tuple[list[str], str]] = []
        self.fail: list[tuple[str, Exception]] = []

    def _may(self, what: str) -> None:
        if self.fail and self.fail[0][0] == what:
            raise self.fail.pop(0)[1]

    def check(self) -> str:
        self._may("check")
        return "1"

    def sources(self, level: str, resource: str) -> list[dict]:
        self._may("sources")
        if resource not in self.series:
            raise Gone("404")
        return [{"Instances": self.series[resource], "MainDicomTags": {}}]

    def download(self, series, folder: Path) -> int:
        self._may("download")
        names = [name for one in series for name in one["Instances"]]
        for name in names:
            (folder / f"{name}.dcm").write_bytes(b"image")
        return len(names)

    def store(self, path: Path) -> str:
        self._may("store")
        if path.read_bytes() not in self.stored:
            self.stored.append(path.read_bytes())
        return f"id{len(self.stored)}"

    def send(self, instances, modality: str) -> None:
        self._may("send")
        self.sent.append((list(instances), modality))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.queue, self.client, self.engine = StudyQueue(folder / "queue.sqlite", 0.2), Client(), StandIn()
        self.options = WorkerOptions("b", folder / "spool", max_attempts=2, lease=30.0, poll=0.01)

    def add(self, name: str, *instances: str) -> None:
        self.client.series[name] = list(instances)
        self.queue.add("series", name, "b", "1.2", "1.2.3", content_of([{"Instances": instances}]))

    @property
    def worker(self) -> Worker:
        self.options.spool.mkdir(exist_ok=True)
        return Worker(self.queue, self.client, self.engine, self.options)

    def due(self) -> None:
        """Let all pauses be over."""
        with sqlite3.connect(self.queue.path) as database:
            database.execute("UPDATE items SET next_try = 0, lease = 0")

    def states(self) -> list[tuple[str, int, str]]:
        return [(item.state, item.attempts, item.reason) for item in self.queue.listing()]


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def test_results_are_stored_and_nothing_stays_behind(bench):
    bench.add("a", "i", "j")
    bench.add("b", "k")
    bench.worker.run(once=True)
    assert bench.states() == [("done", 1, ""), ("done", 1, "")]
    assert [item.objects for item in bench.queue.listing()] == [2, 1] and len(bench.client.stored) == 3
    assert list(bench.options.spool.iterdir()) == []


@pytest.mark.parametrize("what", ["sources", "download", "store", "send"])
def test_an_orthanc_that_is_away_is_waited_for_and_is_no_attempt(bench, what):
    bench.options = WorkerOptions("b", bench.options.spool, send_to=("pacs",))
    bench.add("a", "i", "j")
    bench.client.fail = [(what, Unreachable("away"))]
    worker = bench.worker
    for number in range(5):
        if number:
            bench.client.fail = [(what, Unreachable("away"))]
        assert worker.work_one()
        assert bench.states() == [("waiting", 0, "away")]
        bench.due()
    assert worker.work_one()
    assert bench.states() == [("done", 1, "")]
    assert len(bench.client.stored) == 2 and bench.engine.predicted == ["i.dcm", "j.dcm"]
    assert [(len(ids), name) for ids, name in bench.client.sent] == [(2, "pacs")]


def test_a_worker_that_was_killed_while_storing_stores_the_same_again(bench):
    bench.add("a", "i", "j")
    bench.client.fail = [("store", KeyboardInterrupt())]

    class Killed(StudyQueue):
        def release(self, *_, **__):
            raise SystemExit  # no last word

    worker = bench.worker
    worker.queue = Killed(bench.queue.path)
    with pytest.raises(SystemExit):
        worker.work_one()
    assert [state for state, *_ in bench.states()] == ["running"]
    bench.due()
    bench.worker.run(once=True)
    assert bench.states() == [("done", 2, "")]
    assert bench.engine.predicted == ["i.dcm", "j.dcm"] and len(bench.client.stored) == 2


def test_a_study_that_fails_is_tried_again_and_then_failed_and_the_others_go_on(bench):
    bench.engine = StandIn(lambda name: "damaged" if name == "bad.dcm" else None)
    bench.add("a", "bad", "good")
    bench.add("b", "k")
    worker = bench.worker
    worker.run(once=True)
    assert bench.states() == [("waiting", 1, "series 1.2.3: damaged"), ("done", 1, "")]
    assert len(bench.client.stored) == 2  # the good half of the first is not held back
    bench.due()
    worker.run(once=True)
    assert bench.states()[0] == ("failed", 2, "series 1.2.3: damaged")
    bench.engine.trouble = lambda name: None
    bench.queue.retry()
    worker.run(once=True)
    assert [state for state, *_ in bench.states()] == ["done", "done"]
    assert sorted(bench.engine.predicted) == ["bad.dcm", "good.dcm", "k.dcm"] and len(bench.client.stored) == 3


def test_an_error_of_the_engine_and_a_refused_object_are_failures(bench):
    def trouble(name):
        raise ValueError(f"cannot make sense of {bench.options.spool}/1/images")

    bench.engine = StandIn(trouble)
    bench.add("a", "i")
    bench.worker.run(once=True)
    assert bench.states() == [("waiting", 1, "ValueError: cannot make sense of 1/images")]
    bench.engine.trouble = lambda name: None
    bench.client.fail = [("store", Refused("no"))]
    bench.due()
    bench.worker.run(once=True)
    assert bench.states() == [("failed", 2, "Refused: no")]


def test_what_could_not_be_used_fails_the_item_and_the_rest_is_stored(bench):
    bench.engine.lost = (("series 1.2.9", "its slices state no valid position"),)
    bench.add("a", "i")
    for _ in range(2):
        bench.worker.run(once=True)
        bench.due()
    ((state, attempts, reason),) = bench.states()
    assert (state, attempts) == ("failed", 2) and reason == "1 not used: its slices state no valid position"
    assert len(bench.client.stored) == 1


def test_a_full_disk_is_waited_for(bench):
    bench.add("a", "i")
    bench.client.fail = [("download", OSError(errno.ENOSPC, "No space left on device"))]
    bench.worker.run(once=True)
    ((state, attempts, reason),) = bench.states()
    assert (state, attempts) == ("waiting", 0) and "No space left" in reason


def test_what_was_deleted_or_is_not_for_the_bundle_is_given_up(bench):
    bench.add("a", "i")
    bench.add("b")
    bench.client.series.pop("a")
    bench.worker.run(once=True)
    assert bench.states() == [("given up", 1, "no longer in Orthanc"), ("given up", 1, "nothing in it for b")]


def test_later_images_alone_are_predicted(bench):
    bench.add("a", "i")
    bench.worker.run(once=True)
    bench.add("a", "i", "j")
    bench.worker.run(once=True)
    assert bench.engine.predicted == ["i.dcm", "j.dcm"] and len(bench.client.stored) == 2
    assert bench.states() == [("done", 1, "")]


def test_a_stop_between_predictions_puts_the_item_back(bench):
    worker = bench.worker
    bench.engine.trouble = lambda name: worker.stop()
    bench.add("a", "i", "j")
    worker.run()
    assert bench.states() == [("waiting", 0, "")] and bench.engine.predicted == ["i.dcm"]
    assert not list(bench.options.spool.rglob("images"))
    bench.engine.trouble = lambda name: None
    bench.worker.run(once=True)
    assert bench.states() == [("done", 1, "")] and len(bench.client.stored) == 2
    assert bench.engine.predicted == ["i.dcm", "j.dcm"]


def test_an_item_that_was_lost_is_left_to_the_other_worker(bench):
    bench.options = WorkerOptions("b", bench.options.spool, lease=0.15)
    bench.add("a", "i")

    def sleep(name):
        with sqlite3.connect(bench.queue.path) as database:
            database.execute("UPDATE items SET owner = 'other', lease = 9e9")
        time.sleep(0.4)

    bench.engine.trouble = sleep
    bench.worker.work_one()
    (item,) = bench.queue.listing()
    assert (item.state, item.owner) == ("running", "other") and bench.client.stored == []


def test_a_long_prediction_keeps_its_lease(bench):
    bench.options = WorkerOptions("b", bench.options.spool, lease=0.5)
    bench.add("a", "i")
    seen = []

    def slow(name):
        time.sleep(1.2)
        seen.append(bench.queue.claim("b", "other", 60.0, 3))

    bench.engine.trouble = slow
    bench.worker.run(once=True)
    assert seen == [None] and bench.states() == [("done", 1, "")]


def test_a_locked_queue_keeps_the_outcome_until_it_can_be_written(bench):
    bench.add("a", "i")
    other = sqlite3.connect(bench.queue.path, isolation_level=None, check_same_thread=False)
    note = bench.queue.note_stored

    def lock(*arguments):
        note(*arguments)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(1.0, lambda: other.execute("ROLLBACK")).start()

    bench.queue.note_stored = lock
    bench.worker.run(once=True)
    other.close()
    assert bench.states() == [("done", 1, "")]


def test_no_item_is_touched_while_orthanc_is_away(bench):
    bench.add("a", "i")
    bench.client.fail = [("check", Unreachable("away"))] * 1
    worker = bench.worker
    thread = threading.Thread(target=worker.run)
    thread.start()
    time.sleep(0.3)
    assert bench.states() == [("waiting", 0, "")]
    wait_for("item that is done", lambda: bench.states() == [("done", 1, "")], show=bench.states, pause=0.05)
    worker.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive() and bench.states() == [("done", 1, "")]


def test_remains_of_ended_items_are_removed_and_others_stay(bench):
    bench.add("a", "i")
    worker = bench.worker
    worker.run(once=True)
    for name in ("1", "7", "mine"):
        (bench.options.spool / name).mkdir()
    bench.worker.run(once=True)
    assert sorted(path.name for path in bench.options.spool.iterdir()) == ["7", "mine"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://10.0.0.5:8042", "unencrypted to another computer; use https"),
        ("ftp://127.0.0.1", "an address such as"),
        ("127.0.0.1:8042", "an address such as"),
        ("http://a:b@127.0.0.1:8042", "no user and password in the address"),
    ],
)
def test_addresses_that_are_refused(url, message):
    with pytest.raises(ValueError, match=message):
        OrthancClient(url)


def test_nobody_listens():
    with pytest.raises(Unreachable, match="does not answer"):
        OrthancClient("http://127.0.0.1:9").check()
    OrthancClient("https://10.0.0.5")
    OrthancClient("http://10.0.0.5", plain_http=True)
