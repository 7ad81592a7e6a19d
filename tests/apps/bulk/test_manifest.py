"""The manifest: states, deaths, changed files, and what it refuses."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from medssm_monai.apps.bulk.manifest import DEATHS, KILLED, Manifest
from medssm_monai.apps.bulk.outcome import Outcome
from medssm_monai.apps.bulk.study import Study


def study(number, stamp="a"):
    return Study(f"key{number}", stamp, (f"/in/{number}.png",), f"{number}.png")


@pytest.fixture
def manifest(tmp_path):
    return Manifest(tmp_path / "manifest.sqlite")


def states(manifest):
    return {name: count for name, count in manifest.counts().items() if count}


def test_a_study_goes_from_waiting_to_done_once(manifest):
    assert manifest.note([study(1), study(2)]) == [(study(1), 0), (study(2), 0)]
    assert manifest.begin(study(1), here=True) and not manifest.begin(study(1), here=True)
    assert states(manifest) == {"waiting": 1, "running": 1}
    manifest.finish(study(1), Outcome("done", answer="ring", values={"x": {"share": 0.5}}, predictions=1))
    assert manifest.note([study(1), study(2)]) == [(study(2), 0)]
    (entry,) = manifest.entries(("done",))
    assert (entry.key, entry.answer, entry.figures, entry.attempts) == ("key1", "ring", {"x": {"share": 0.5}}, 1)
    assert entry.name == ""  # nobody asked for names


def test_names_where_they_are_asked_for_also_later(tmp_path):
    first = Manifest(tmp_path / "m.sqlite")
    first.note([study(1), study(2), study(3)])
    first.begin(study(1), here=True)
    first.finish(study(1), Outcome("done"))
    first.close()
    later = Manifest(tmp_path / "m.sqlite", names=True)
    changed = study(3, stamp="b")
    assert later.note([study(1), study(2), changed]) == [(study(2), 0), (changed, 0)]
    assert [entry.name for entry in later.entries()] == ["1.png", "2.png", "3.png"]


def test_names_that_are_not_utf8_are_noted_with_backslashes(tmp_path):
    manifest = Manifest(tmp_path / "m.sqlite", names=True)
    manifest.note([replace(study(1), name="gr\udcfcn.png")])
    assert [entry.name for entry in manifest.entries()] == ["gr\\udcfcn.png"]
    assert manifest.note([replace(study(1), name="gr\udcfcn.png")])  # it waits still, and is the same one


def test_files_that_have_changed_are_done_again(manifest):
    manifest.note([study(1)])
    manifest.begin(study(1), here=True)
    manifest.finish(study(1), Outcome("failed", "cannot be read"))
    assert manifest.note([study(1)]) == []
    assert manifest.note([study(1, "b")]) == [(study(1, "b"), 0)]
    assert states(manifest) == {"waiting": 1}


def test_three_deaths_and_a_study_has_failed(manifest):
    manifest.note([study(1)])
    for number in range(1, DEATHS + 1):
        manifest.begin(study(1), here=False)
        assert manifest.died(study(1)) is (number == DEATHS)
    (entry,) = manifest.entries(("failed",))
    assert (entry.reason, entry.deaths, entry.attempts) == (KILLED, 3, 3)
    assert manifest.note([study(1)]) == [] and manifest.retry_failed() == 1
    assert manifest.note([study(1)]) == [(study(1), 0)]


@pytest.mark.parametrize(("here", "deaths"), [(True, 1), (False, 0)])
def test_only_what_ran_in_the_killed_process_is_blamed_for_it(tmp_path, here, deaths):
    first = Manifest(tmp_path / "m.sqlite")
    first.note([study(1), study(2)])
    first.begin(study(1), here)
    first.close()
    later = Manifest(tmp_path / "m.sqlite")
    assert later.take_up() == 1 and later.take_up() == 0
    assert later.note([study(1), study(2)]) == [(study(1), deaths), (study(2), 0)]


def test_what_was_stopped_waits_again_without_blame(manifest):
    manifest.note([study(1)])
    manifest.begin(study(1), here=True)
    manifest.release(study(1))
    assert manifest.take_up() == 0 and manifest.note([study(1)]) == [(study(1), 0)]


def test_what_a_whole_pass_does_not_see_is_gone_until_it_is_there_again(manifest):
    manifest.begin_pass()
    manifest.note([study(number) for number in (1, 2, 3)])
    manifest.end_pass()
    for number, state in ((1, "done"), (2, "failed")):
        manifest.begin(study(number), here=True)
        manifest.finish(study(number), Outcome(state))
    assert states(manifest) == {"waiting": 1, "done": 1, "failed": 1}
    manifest.begin_pass()
    manifest.note([study(4)])
    assert states(manifest) == {"waiting": 2, "done": 1, "failed": 1}  # the pass has not ended
    manifest.end_pass()
    assert states(manifest) == {"waiting": 1, "gone": 3} and [entry.key for entry in manifest.entries()] == ["key4"]
    manifest.begin_pass()
    assert manifest.note([study(number) for number in (1, 2, 3)]) == [(study(3), 0)]  # what is done stays done
    manifest.end_pass()
    assert states(manifest) == {"waiting": 1, "done": 1, "failed": 1, "gone": 1}


def test_a_study_that_is_done_again_counts_once_among_the_unlike(manifest):
    for stamp, unlike in (("a", ("size", "color")), ("b", ("size",))):
        manifest.note([study(1, stamp), study(2)])
        manifest.begin(study(1, stamp), here=True)
        manifest.finish(study(1, stamp), Outcome("done", unlike=unlike))
    manifest.begin(study(2), here=True)
    manifest.finish(study(2), Outcome("done"))
    assert manifest.unlike() == (2, 1, {"size": 1})


def test_other_weights_or_options_are_refused(manifest):
    manifest.belong_to({"bundle": "a", "weights": "0123"})
    manifest.belong_to({"bundle": "a", "weights": "0123"})
    with pytest.raises(ValueError, match=r"results of other weights \(weights: 0123, now 4567\). Name another folder"):
        manifest.belong_to({"bundle": "a", "weights": "4567"})


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_only_the_owner_reads_it(manifest):
    assert stat.S_IMODE(manifest.path.stat().st_mode) == 0o600
