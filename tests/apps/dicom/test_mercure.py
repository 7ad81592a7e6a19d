"""The module for mercure and the watcher, with a stand-in for the engine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from medssm_monai.apps.dicom import mercure, mercure_watch
from medssm_monai.apps.dicom.mercure_task import Engines, TaskError, read_settings, run_task, with_settings
from medssm_monai.apps.dicom.mercure_watch import Watcher, WatchOptions

from ...dicom.objects import require_libraries
from .stand_in import StandIn

require_libraries()
UUID = "0b3f9f0e-8a0e-11ef-9d0c-0242ac120002"


def task(folder: Path, settings: dict | None = None, images: int = 2, **process) -> Path:
    """A folder as mercure makes it; its task.json names a patient, as mercure's do."""
    folder.mkdir(parents=True)
    for number in range(images):
        (folder / f"1.2.3#1.2.3.{number}.dcm").write_bytes(b"image")
        (folder / f"1.2.3#1.2.3.{number}.tags").write_text("{}")
    about = {"module_name": "medssm", "settings": settings or {}, "retain_input_images": False, **process}
    content = {"id": UUID, "info": {"mrn": "ID-4711", "acc": "ACC-99"}, "process": about, "dispatch": {}}
    (folder / "task.json").write_text(json.dumps(content))
    return folder


def test_results_are_named_as_mercure_names_images(tmp_path):
    from pydicom import dcmread

    said = run_task(StandIn(), task(tmp_path / "in"), tmp_path / "out")
    objects = list((tmp_path / "out").glob("*.dcm"))
    for path in objects:
        header = dcmread(path)
        assert path.name == f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.dcm"
    assert len(objects) == 2 and json.loads((tmp_path / "out" / "result.json").read_text()) == said
    assert sorted(name for one in said["predictions"] for name in one["objects"]) == sorted(
        path.name for path in objects
    )
    assert "ID-4711" not in json.dumps(said) and said["predictions"][0]["answer"] == "fine"


def test_what_could_not_be_used_fails_the_task(tmp_path):
    with pytest.raises(TaskError, match="not used: its slices state no valid position"):
        run_task(
            StandIn(lost=(("series 1.2.9", "its slices state no valid position"),)),
            task(tmp_path / "in"),
            tmp_path / "out",
        )
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("full", [False, True])
def test_all_results_or_none(tmp_path, monkeypatch, full):
    inputs, output = task(tmp_path / "in"), tmp_path / "out"
    if full:  # the disk, when half of it is written
        replace, calls = os.replace, []

        def fill(source, target):
            calls.append(target)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr("medssm_monai.apps.dicom.mercure_task.os.replace", fill)
        with pytest.raises(OSError, match="No space left"):
            run_task(StandIn(), inputs, output)
    else:
        with pytest.raises(TaskError, match=r"series 1\.2\.3: damaged"):
            run_task(StandIn(lambda name: "damaged" if "3.1" in name else None), inputs, output)
    assert not output.exists() or list(output.iterdir()) == []


def test_settings_of_a_task(tmp_path):
    assert read_settings(task(tmp_path / "a", {"bundle": "x"})) == {"bundle": "x"}
    several = task(tmp_path / "b")
    steps = [{"settings": {"sigma": 1}}, {"settings": {"bundle": "y"}}]
    (several / "task.json").write_text(json.dumps({"process": steps}))
    assert read_settings(several) == {"bundle": "y"}
    (several / "task.json").write_text(json.dumps({"process": steps[:1] * 2}))
    with pytest.raises(TaskError, match="0 of its 2 processes name a bundle"):
        read_settings(several)
    for text in ("{", "[]", '{"process": 3}', '{"process": {"settings": 3}}'):
        (several / "task.json").write_text(text)
        with pytest.raises(TaskError, match=r"task\.json"):
            read_settings(several)
    (several / "task.json").write_text('{"process": {}}')
    assert read_settings(several) == {}
    (several / "task.json").unlink()
    assert read_settings(several) == {}


def test_settings_take_the_places_of_options():
    options = argparse.Namespace(bundle="a", weights=None, set=[], modality=["MR"], source=[], other=1)
    settings = {"bundle": "b", "weights": "volume", "set": {"threshold": 0.4}, "modality": "CT", "source": {"A": "t1"}}
    made = with_settings(options, settings)
    assert vars(made) == {
        "bundle": "b", "weights": "volume", "set": ["threshold=0.4"], "modality": ["CT"], "source": ["A=t1"], "other": 1
    }  # fmt: skip
    assert options.bundle == "a"
    with pytest.raises(TaskError) as error:
        with_settings(options, {"bundle": "../evil", "weights": "/etc/x", "sigma": 3, "fractional": "yes", "set": []})
    for part in (
        "bundle: a name is expected",
        "weights: a name",
        "unknown setting 'sigma'",
        "fractional: true or false",
    ):
        assert part in str(error.value)


def test_engines_are_kept():
    built = []
    engines = Engines(argparse.Namespace(bundle="a"), lambda options: built.append(options.bundle) or StandIn())
    one = engines.engine({})
    assert engines.engine({}) is one and engines.engine({"bundle": "b"}) is not one
    engines.engine({"bundle": "c"})
    engines.engine({})
    assert built == ["a", "b", "c", "a"]


def test_the_module(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mercure, "build_engine", lambda options: StandIn())
    monkeypatch.delenv("MERCURE_IN_DIR", raising=False)
    assert mercure.main(["mamba_mis"]) == 2
    assert "MERCURE_IN_DIR and MERCURE_OUT_DIR not set" in capsys.readouterr().err
    monkeypatch.setenv("MERCURE_IN_DIR", str(task(tmp_path / "in")))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "out"))
    assert mercure.main(["mamba_mis"]) == 0
    assert "series 1.2.3: fine (1 objects)" in capsys.readouterr().out
    monkeypatch.setattr(mercure, "build_engine", lambda options: StandIn(lambda name: "damaged"))
    assert mercure.main(["mamba_mis"]) == 1
    monkeypatch.setenv("MERCURE_IN_DIR", str(task(tmp_path / "other", {"sigma": 1})))
    assert mercure.main(["mamba_mis"]) == 1
    assert "unknown setting 'sigma'" in capsys.readouterr().err


class Folders:
    def __init__(self, place: Path) -> None:
        self.watch, self.output, self.errors = (place / name for name in ("watch", "output", "errors"))
        for folder in (self.watch, self.output, self.errors):
            folder.mkdir()
        self.engine = StandIn()

    @property
    def watcher(self) -> Watcher:
        return Watcher(lambda settings: self.engine, WatchOptions(self.watch, self.output, self.errors, 2, 0.01))

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Folders:
    monkeypatch.setattr(mercure_watch, "pause", lambda number: 0.05)
    return Folders(tmp_path)


def test_each_task_once(folders):
    for name in ("a", "b"):
        task(folders.watch / name)
    task(folders.watch / "kept", retain_input_images=True)
    folders.watcher.run(once=True)
    assert folders.names(folders.watch) == [] and folders.names(folders.output) == ["a", "b", "kept"]
    assert len(folders.engine.predicted) == 6
    assert sorted(path.suffix for path in (folders.output / "a").iterdir()) == [".dcm", ".dcm", ".json", ".json"]
    assert len(list((folders.output / "kept").glob("*.dcm"))) == 4
    assert (folders.output / "a" / "task.json").is_file()
    assert [path.name for path in folders.output.iterdir() if path.name.startswith(".")] == []
    folders.watcher.run(once=True)
    assert len(folders.engine.predicted) == 6


def test_marks_of_mercure_are_heeded(folders):
    for mark in (".lock", ".processing", ".error"):
        (task(folders.watch / f"with{mark}") / mark).touch()
    (folders.watch / "no_task").mkdir()
    folders.watcher.run(once=True)
    assert folders.engine.predicted == [] and len(folders.names(folders.watch)) == 4
    (folders.watch / "with.lock" / ".lock").unlink()
    folders.watcher.run(once=True)
    assert folders.names(folders.output) == ["with.lock"]


def test_a_task_that_fails_is_moved_away_and_the_others_go_on(folders, caplog):
    caplog.set_level("INFO")
    folders.engine.trouble = lambda name: "damaged" if "3.2" in name else None
    task(folders.watch / "Mueller_Anna", images=3)
    task(folders.watch / UUID, images=1)
    folders.watcher.run(once=True)
    assert folders.names(folders.output) == [UUID] and folders.names(folders.watch) == []
    assert folders.names(folders.errors) == ["Mueller_Anna"]
    failed = folders.errors / "Mueller_Anna"
    assert (failed / ".error").read_text() == "series 1.2.3: damaged\n" and (failed / "task.json").is_file()
    assert not (failed / ".processing").exists() and len(list(failed.glob("*.dcm"))) == 3
    assert "attempt 1 of 2" in caplog.text and f"task {UUID}: done" in caplog.text
    assert not any(name in caplog.text for name in ("Mueller", "Anna", "ID-4711"))


def test_a_killed_watcher_is_followed_by_another(folders):
    def kill(name):
        raise KeyboardInterrupt

    task(folders.watch / "a")
    folders.engine.trouble = kill
    with pytest.raises(KeyboardInterrupt):
        folders.watcher.run(once=True)
    assert (folders.watch / "a" / ".processing").is_file() and folders.names(folders.output) == []
    remains = folders.output / f"{folders.watcher._ours}1"
    remains.mkdir()
    others = folders.output / ".medssm-of-another"
    others.mkdir()
    folders.engine.trouble = lambda name: None
    folders.watcher.run(once=True)
    assert folders.names(folders.watch) == [] and folders.names(folders.output) == ["a"]
    assert not remains.exists() and others.exists()


def test_what_kills_each_watcher_fails_at_last(folders):
    def kill(name):
        raise KeyboardInterrupt

    task(folders.watch / "a")
    folders.engine.trouble = kill
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            folders.watcher.run(once=True)
    folders.watcher.run(once=True)
    assert folders.names(folders.errors) == ["a"]
    assert "2 times" in (folders.errors / "a" / ".error").read_text()


def test_a_watcher_killed_after_the_results_are_there_ends_the_task_only(folders, monkeypatch):
    task(folders.watch / "a")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Watcher, "_complete", lambda self, folder: (folders.output / "a").exists() and killed())
    with pytest.raises(KeyboardInterrupt):
        folders.watcher.run(once=True)
    monkeypatch.undo()
    assert (folders.output / "a" / ".lock").is_file() and folders.names(folders.watch) == ["a"]
    folders.watcher.run(once=True)
    assert folders.names(folders.watch) == [] and not (folders.output / "a" / ".lock").exists()
    assert len(folders.engine.predicted) == 2


def test_a_watcher_killed_after_the_task_is_removed_leaves_no_mark_for_good(folders, monkeypatch):
    task(folders.watch / "a")
    rmtree = shutil.rmtree

    def killed(path, **options):
        rmtree(path, **options)
        if Path(path) == folders.watch / "a":
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        folders.watcher.run(once=True)
    monkeypatch.undo()
    mark = folders.output / "a" / ".lock"
    assert mark.is_file() and folders.names(folders.watch) == []
    foreign = {"of another service": "{}", "of a watcher elsewhere": mark.read_text().replace(".medssm-", ".medssm-0")}
    for name, said in foreign.items():
        (folders.output / name).mkdir()
        (folders.output / name / ".lock").write_text(said)
    (folders.output / "a_file").touch()
    folders.watcher.run(once=True)
    assert not mark.exists() and len(folders.engine.predicted) == 2
    assert all((folders.output / name / ".lock").read_text() == said for name, said in foreign.items())


def test_results_that_another_watcher_is_at_work_on_do_not_end_a_task(folders):
    task(folders.watch / "a")
    (folders.output / "a").mkdir()
    (folders.output / "a" / ".lock").write_text('{"program": "medssm-monai", "attempts": 0, "watcher": "elsewhere"}')
    folders.watcher.run(once=True)
    assert folders.names(folders.errors) == ["a"] and (folders.output / "a" / ".lock").exists()
    assert "holds results of a task of this name" in (folders.errors / "a" / ".error").read_text()


def test_a_stop_leaves_the_task(folders):
    watcher = folders.watcher
    folders.engine.trouble = lambda name: watcher.stop()
    task(folders.watch / "a")
    watcher.run()
    assert folders.names(folders.watch) == ["a"] and folders.names(folders.output) == []
    state = json.loads((folders.watch / "a" / ".processing").read_text())
    assert state["attempts"] == 0 and state["next_try"] <= time.time()


def test_one_watcher_at_a_time(folders):
    seen = []

    def second(name):
        with pytest.raises(FileExistsError, match="another watcher is at work"):
            folders.watcher.run(once=True)
        seen.append(name)

    folders.engine.trouble = second
    task(folders.watch / "a", images=1)
    folders.watcher.run(once=True)
    assert len(seen) == 1


def test_results_of_a_task_of_the_same_name_are_not_written_over(folders):
    task(folders.watch / "a")
    (folders.output / "a").mkdir()
    folders.watcher.run(once=True)
    assert "results of a task of this name" in (folders.errors / "a" / ".error").read_text()


def test_options_of_the_watcher(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mercure, "build_engine", lambda options: StandIn())
    place = str(tmp_path)
    assert mercure.main(["mamba_mis", "--watch", place]) == 2
    assert mercure.main(["mamba_mis", "--watch", place, "--output", place, "--errors", f"{place}/e"]) == 2
    said = capsys.readouterr().err
    assert "--watch needs --output FOLDER and --errors FOLDER" in said and "must be three folders" in said
