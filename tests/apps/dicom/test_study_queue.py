"""The queue between Orthanc and the workers."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import threading
import time

import pytest

from medssm_monai.apps.dicom.in_orthanc import study_queue
from medssm_monai.apps.dicom.in_orthanc.study_queue import StudyQueue


@pytest.fixture
def queue(tmp_path) -> StudyQueue:
    return StudyQueue(tmp_path / "queue.sqlite", timeout=0.2)


def add(queue: StudyQueue, name: str = "a", content: str = "c", bundle: str = "b", now: float = 100.0) -> bool:
    return queue.add("series", name, bundle, "1.2", f"1.2.{ord(name[0])}", content, now)


def claim(queue: StudyQueue, now: float = 100.0, bundle: str = "b", attempts: int = 3, owner: str = "me"):
    return queue.claim(bundle, owner, 60.0, attempts, now)


def test_an_item_goes_its_way(queue):
    assert add(queue) and not add(queue)
    assert claim(queue, bundle="other") is None
    item = claim(queue)
    assert (item.state, item.attempts, item.resource, item.owner, item.lease) == ("running", 1, "a", "me", 160.0)
    assert claim(queue) is None
    assert queue.finish(item, "done", objects=2, now=130.0)
    (ended,) = queue.listing()
    assert (ended.state, ended.objects, ended.ended, ended.owner) == ("done", 2, 130.0, "")
    assert queue.counts() == {"waiting": 0, "running": 0, "done": 1, "failed": 0, "given up": 0}
    assert not add(queue) and claim(queue, now=1e9) is None


def test_the_first_comes_first_and_each_bundle_has_its_own(queue):
    for name, when in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        add(queue, name, now=when)
    add(queue, "a", bundle="other", now=1.0)
    assert [claim(queue).resource for _ in range(3)] == ["b", "c", "a"]
    assert claim(queue, bundle="other").resource == "a"


def test_a_pause_doubles_up_to_its_limit(queue):
    add(queue)
    now, pauses = 100.0, []
    for _ in range(12):
        item = claim(queue, now, attempts=99)
        queue.release(item, "damaged", counted=True, now=now)
        (waiting,) = queue.listing()
        pauses.append(waiting.next_try - now)
        assert claim(queue, waiting.next_try - 0.01) is None
        now = waiting.next_try
    assert pauses == [min(5.0 * 2**number, 3600.0) for number in range(12)]
    assert (waiting.attempts, waiting.reason, waiting.state) == (12, "damaged", "waiting")


def test_waits_for_orthanc_are_short_and_no_attempts(queue):
    add(queue)
    now = 100.0
    for _ in range(8):
        queue.release(claim(queue, now), "not there", now=now)
        (waiting,) = queue.listing()
        assert waiting.attempts == 0 and waiting.next_try - now <= 60.0
        now = waiting.next_try
    assert waiting.next_try - 60.0 < now
    queue.release(claim(queue, now), delay=0.0, now=now)
    assert claim(queue, now) is not None


def test_the_item_of_a_killed_worker_is_taken_again(queue):
    add(queue)
    killed = claim(queue, 100.0)
    assert queue.renew(killed, 60.0, now=150.0)
    assert claim(queue, 209.0, owner="other") is None
    item = claim(queue, 211.0, owner="other")
    assert (item.id, item.attempts, item.owner) == (killed.id, 2, "other")
    assert not queue.renew(killed, 60.0, now=212.0)  # it was only asleep
    assert not queue.finish(killed, "done", now=212.0) and not queue.release(killed, now=212.0)
    assert queue.finish(item, "done", now=213.0)


def test_what_ends_its_workers_fails_at_last(queue):
    add(queue, "a")
    add(queue, "b", now=101.0)
    for number in range(3):
        assert claim(queue, 101.0 + 100.0 * number).resource == "a"
    assert claim(queue, 500.0).resource == "b"
    (failed,) = queue.listing("failed")
    assert failed.resource == "a" and "3 times" in failed.reason


def test_further_instances_queue_again(queue):
    add(queue)
    queue.finish(claim(queue), "done")
    assert add(queue, content="more") and not add(queue, content="more")
    item = claim(queue)
    assert (item.attempts, item.content) == (1, "more")
    assert add(queue, content="even more")  # while it runs
    assert queue.finish(item, "done")
    assert [item.state for item in queue.listing()] == ["waiting"]
    assert claim(queue).content == "even more"


def test_results_that_were_stored_are_remembered(queue):
    add(queue, "a")
    add(queue, "b")
    one, other = claim(queue), claim(queue)
    queue.note_stored(one, ["x", "y"])
    queue.note_stored(one, ["y"])
    assert queue.stored(one) == {"x", "y"} and queue.stored(other) == set()


def test_retry(queue):
    for name in "abc":
        add(queue, name)
    for state in ("failed", "given up", "done"):
        queue.finish(claim(queue), state, "why")
    with pytest.raises(KeyError, match="no item 9"):
        queue.retry(9)
    with pytest.raises(ValueError, match="item 3 is done; only what has failed"):
        queue.retry(3)
    assert queue.retry(2) == 1 and queue.retry() == 1
    assert [(item.state, item.attempts, item.reason) for item in queue.listing()][:2] == [("waiting", 0, "")] * 2
    assert queue.listing()[2].state == "done"


def test_listings(queue):
    for name in "abc":
        add(queue, name)
    claim(queue)
    assert [item.resource for item in queue.listing("waiting")] == ["b", "c"]
    assert [item.resource for item in queue.listing(limit=2)] == ["b", "c"]
    with pytest.raises(ValueError, match="no state 'lost'; one of waiting, running"):
        queue.listing("lost")
    said = json.loads(queue.as_json(queue.listing("running")))
    assert said["counts"]["waiting"] == 2 and [one["resource"] for one in said["items"]] == ["a"]


def _claim_all(path, owner, start, taken):
    queue = StudyQueue(path)
    start.wait()
    while (item := queue.claim("b", owner, 60.0, 3)) is not None:
        taken.put((owner, item.id))
        queue.finish(item, "done")
    taken.put(None)


def test_two_processes_never_get_the_same(queue):
    for number in range(40):
        queue.add("series", f"r{number}", "b", "1.2", "1.2.3", "c")
    context = multiprocessing.get_context("spawn")
    start, taken = context.Event(), context.Queue()
    workers = [context.Process(target=_claim_all, args=(queue.path, name, start, taken)) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    time.sleep(2)
    start.set()
    got, ended = [], 0
    while ended < 2:
        one = taken.get(timeout=60)
        ended += one is None
        got += [one] if one else []
    for worker in workers:
        worker.join(30)
    assert sorted(number for _, number in got) == list(range(1, 41))
    assert queue.counts()["done"] == 40


def test_a_locked_file_is_an_error_and_changes_nothing(queue):
    add(queue)
    other = sqlite3.connect(queue.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        for call in (lambda: add(queue, "b"), lambda: claim(queue)):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                call()
        assert [item.state for item in queue.listing()] == ["waiting"]  # reading goes on
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert add(queue, "b") and claim(queue) is not None


@pytest.mark.parametrize(("held", "timeout"), [(0.3, 10.0), (5.0, 0.2)])
def test_a_new_file_that_another_process_is_making_is_waited_for(tmp_path, held, timeout):
    path = tmp_path / "queue.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # the other one's first statement, before the file keeps its journal apart
    release = threading.Timer(held, other.execute, ["ROLLBACK"])
    release.start()
    if held < timeout:
        assert StudyQueue(path, timeout).listing() == []
    else:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            StudyQueue(path, timeout)
        release.cancel()
    release.join()
    other.close()
    assert add(StudyQueue(path))


def test_only_the_owner_reads_it(tmp_path):
    queue = StudyQueue(tmp_path / "new" / "queue.sqlite")
    add(queue)
    assert queue.path.stat().st_mode & 0o077 == 0 and queue.path.parent.stat().st_mode & 0o077 == 0


def test_it_has_no_column_for_a_patient(queue):
    """Whoever adds one thinks of this: the listing and Orthanc's route show every column."""
    columns = study_queue.COLUMNS.split(", ")
    assert sorted(columns) == sorted(
        ["id", "level", "resource", "bundle", "study_uid", "series_uid", "content", "state", "attempts", "delays"]
        + ["reason", "objects", "queued", "next_try", "started", "ended", "owner", "lease"]
    )
