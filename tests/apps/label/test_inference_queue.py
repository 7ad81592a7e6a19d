"""Several pieces of work at once, some waiting, none for ever."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from medssm_monai.apps.label.inference_queue import Busy, InferenceQueue, TookTooLong


def test_results_and_errors_are_handed_on():
    queue = InferenceQueue(1, 0, 10)
    assert queue.run(lambda: 5) == 5
    for error in (ValueError("bad"), TimeoutError("of the work itself")):
        with pytest.raises(type(error), match=str(error)):
            queue.run(lambda error=error: (_ for _ in ()).throw(error))
    assert queue.run(lambda: 6) == 6  # its place is free again


def test_work_sees_the_context_of_its_request():
    who = ContextVar("who")
    who.set("anna")
    assert InferenceQueue(1, 0, 10).run(who.get) == "anna"


def test_several_run_at_once_some_wait_and_more_are_refused():
    queue, inside, go = InferenceQueue(2, 1, 10), threading.Barrier(3), threading.Event()
    done = []

    def work():
        if len(done) == 0 and not go.is_set():
            inside.wait(10)  # both places are taken when three are here: two threads and this test
        go.wait(10)
        return 1

    threads = [threading.Thread(target=lambda: done.append(queue.run(work))) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    waiting = threading.Thread(target=lambda: done.append(queue.run(lambda: 2)))
    waiting.start()
    while queue._taken < 3:
        pass
    with pytest.raises(Busy, match="3 inferences are running or waiting"):
        queue.run(lambda: 3)
    go.set()
    for thread in (*threads, waiting):
        thread.join(10)
    assert sorted(done) == [1, 1, 2]


def test_what_takes_too_long_is_answered_and_its_result_forgotten():
    go, forgotten = threading.Event(), []
    came = threading.Event()
    queue = InferenceQueue(1, 5, 0.05, lambda result: (forgotten.append(result), came.set()))
    with pytest.raises(TookTooLong, match=r"no result within 0.05 s"):
        queue.run(lambda: go.wait(10) and "late")
    begun = []
    with pytest.raises(TookTooLong):
        queue.run(lambda: begun.append(1))  # waits behind the first
    go.set()
    assert came.wait(10)
    assert forgotten == ["late"]
    assert begun == []
