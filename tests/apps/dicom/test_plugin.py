"""The plugin, with a stand-in for the module that Orthanc offers; tests/integration has Orthanc itself."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from types import SimpleNamespace

import pytest

from medssm_monai.apps.dicom.in_orthanc import plugin
from medssm_monai.apps.dicom.in_orthanc.plugin import Plugin
from medssm_monai.apps.dicom.in_orthanc.study_queue import StudyQueue

from ...waiting import wait_for

SETTINGS = {"StableAge": 0.1, "MedSSM": {"Queue": "", "Rules": [{"bundle": "b", "modality": "CR"}]}}


class Orthanc:
    """Holds series by name: (study, modality, instances, stable)."""

    class OrthancException(Exception):
        pass

    ErrorCode = SimpleNamespace(UNKNOWN_RESOURCE=17)
    ChangeType = SimpleNamespace(ORTHANC_STARTED=10, ORTHANC_STOPPED=11, STABLE_SERIES=8, STABLE_STUDY=9)

    def __init__(self, settings: dict) -> None:
        self.settings, self.series, self.changes, self.said, self.routes = settings, {}, [], [], {}

    def GetConfiguration(self) -> str:
        return json.dumps(self.settings)

    def RegisterOnChangeCallback(self, callback) -> None:
        self.changed = callback

    def RegisterRestCallback(self, route, callback) -> None:
        self.routes[route] = callback

    def LogWarning(self, text) -> None:
        self.said.append(text)

    LogError = LogWarning

    def RestApiGet(self, address: str) -> bytes:
        return json.dumps(self._answer(address)).encode()

    def _one(self, name: str) -> dict:
        if name not in self.series:
            raise self.OrthancException(17, "Unknown resource")
        _, modality, instances, stable = self.series[name]
        tags = {"Modality": modality, "SeriesInstanceUID": f"1.{name}", "PatientName": "Müller^Anna"}
        return {"ID": name, "MainDicomTags": tags, "Instances": instances, "IsStable": stable}

    def _answer(self, address: str):
        if match := re.fullmatch(r"/changes\?(last|since=(\d+)&limit=\d+)", address):
            found = [] if match[1] == "last" else self.changes[int(match[2]) :]
            return {"Changes": found, "Done": True, "Last": len(self.changes)}
        if match := re.fullmatch(r"/(series|studies)\?since=(\d+)&limit=(\d+)", address):
            names = sorted(self.series if match[1] == "series" else {one[0] for one in self.series.values()})
            return names[int(match[2]) :][: int(match[3])]
        kind, name, *more = address.strip("/").split("/")
        if kind == "studies":
            members = [self._one(one) for one, about in self.series.items() if about[0] == name]
            stable = all(one["IsStable"] for one in members)
            return members if more else {"IsStable": stable, "MainDicomTags": {"StudyInstanceUID": f"1.{name}"}}
        found = self._one(name)
        return {"MainDicomTags": {"StudyInstanceUID": f"1.{self.series[name][0]}"}} if more else found


@pytest.fixture
def orthanc(tmp_path, monkeypatch) -> Orthanc:
    monkeypatch.setattr(plugin, "PAUSE", 0.1)
    monkeypatch.setattr(plugin, "LOCKED_SECONDS", 0.1)
    settings = json.loads(json.dumps(SETTINGS))
    settings["MedSSM"] |= {"Queue": str(tmp_path / "queue.sqlite"), "SweepSeconds": 0.2}
    return Orthanc(settings)


@pytest.fixture
def started(orthanc):
    Plugin(orthanc).start()
    orthanc.changed(10, 4, "")
    yield orthanc
    orthanc.changed(11, 4, "")


def queued(orthanc: Orthanc, count: int) -> list:
    queue = StudyQueue(orthanc.settings["MedSSM"]["Queue"])
    wait_for(f"{count} items", lambda: len(queue.listing()) >= count, show=lambda: orthanc.said, pause=0.02)
    found = queue.listing()
    assert len(found) == count, orthanc.said
    return found


def test_a_stable_series_is_queued(started):
    started.series = {"a": ("s", "CR", ["i"], True), "b": ("s", "MR", ["j"], True), "c": ("s", "SR", ["k"], True)}
    for name in "abcx":
        started.changed(8, 2, name)
    (item,) = queued(started, 1)
    assert (item.level, item.resource, item.bundle, item.study_uid, item.series_uid) == (
        "series",
        "a",
        "b",
        "1.s",
        "1.a",
    )
    assert any("series 1.a queued for b" in said for said in started.said)
    assert not any("Anna" in said for said in started.said)


def test_what_orthanc_held_when_it_started_is_queued(orthanc):
    orthanc.series = {f"n{number:03}": ("s", "CR", ["i"], True) for number in range(230)}
    orthanc.series["moving"] = ("s", "CR", ["i"], False)
    Plugin(orthanc).start()
    orthanc.changed(10, 4, "")
    queued(orthanc, 230)
    orthanc.series["moving"] = ("s", "CR", ["i", "j"], True)
    orthanc.changes += [{"ChangeType": "StableSeries", "ID": "moving"}]  # seen in the list of changes, if not called
    queued(orthanc, 231)
    orthanc.changed(11, 4, "")


def test_only_what_comes_afterwards(orthanc):
    orthanc.settings["MedSSM"]["Existing"] = False
    orthanc.series = {"old": ("s", "CR", ["i"], True)}
    orthanc.changes = [{"ChangeType": "NewSeries", "ID": "old"}]
    Plugin(orthanc).start()
    orthanc.changed(10, 4, "")
    time.sleep(0.5)
    assert queued(orthanc, 0) == []
    orthanc.changed(11, 4, "")  # killed before a series that has come was stable
    orthanc.series |= {"new": ("s", "CR", ["j"], True), "newer": ("t", "CR", ["k"], True)}
    orthanc.changes += [{"ChangeType": "NewSeries", "ID": "new"}, {"ChangeType": "NewStudy", "ID": "t"}]
    Plugin(orthanc).start()
    orthanc.changed(10, 4, "")
    (item,) = queued(orthanc, 1)
    assert item.resource == "new"
    orthanc.changes += [{"ChangeType": "StableSeries", "ID": "newer"}]
    assert {one.resource for one in queued(orthanc, 2)} == {"new", "newer"}
    orthanc.changed(11, 4, "")


def test_studies(orthanc):
    orthanc.settings["MedSSM"]["Rules"] = [{"bundle": "fusion", "level": "study", "modality": "MR"}]
    orthanc.series = {"a": ("s", "MR", ["i"], True), "b": ("s", "CT", ["j"], True), "c": ("t", "CT", ["k"], True)}
    Plugin(orthanc).start()
    orthanc.changed(10, 4, "")
    (item,) = queued(orthanc, 1)
    assert (item.level, item.resource, item.series_uid, item.study_uid) == ("study", "s", "", "1.s")
    orthanc.series["r"] = ("s", "SR", ["result"], True)  # a result makes the study stable again
    orthanc.changed(9, 1, "s")
    StudyQueue(orthanc.settings["MedSSM"]["Queue"]).finish(
        StudyQueue(orthanc.settings["MedSSM"]["Queue"]).claim("fusion", "me", 60, 3), "done"
    )
    time.sleep(0.5)
    assert [one.state for one in queued(orthanc, 1)] == ["done"]
    orthanc.changed(11, 4, "")


def test_a_locked_queue_is_said_and_nothing_is_lost(started, monkeypatch):
    path = started.settings["MedSSM"]["Queue"]
    StudyQueue(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connect, threads = sqlite3.connect, set()

    def noted(*args, **kwargs) -> sqlite3.Connection:
        threads.add(threading.get_ident())
        return connect(*args, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", noted)
    started.series = {"a": ("s", "CR", ["i"], True), "b": ("s", "CR", ["j"], True)}
    started.changed(8, 2, "a")
    started.changed(8, 2, "b")
    assert threading.get_ident() not in threads  # Orthanc's thread opens no database, and waits for none
    wait_for(
        "word of the lock",
        lambda: any("tried again in" in said and "locked" in said for said in started.said),
        show=lambda: started.said,
    )
    assert threads  # but the plugin's own does
    assert StudyQueue.counts(_reader(path))["waiting"] == 0
    other.execute("ROLLBACK")
    other.close()
    queued(started, 2)


def _reader(path: str) -> StudyQueue:
    made = StudyQueue.__new__(StudyQueue)
    made.path, made.timeout = path, 1.0
    return made


class Output:
    def AnswerBuffer(self, text, kind) -> None:
        self.text, self.kind = text, kind

    def SendHttpStatus(self, status, text, size) -> None:
        self.status, self.text = status, text
        assert len(text) == size

    def SendMethodNotAllowed(self, allowed) -> None:
        self.status, self.text = 405, allowed


def test_the_route(started):
    started.series = {"a": ("s", "CR", ["i"], True)}
    started.changed(8, 2, "a")
    queued(started, 1)
    answer = started.routes["/medssm/queue"]
    output = Output()
    answer(output, "/medssm/queue", method="GET")
    assert json.loads(output.text)["counts"]["waiting"] == 1 and output.kind == "application/json"
    answer(output, "/medssm/queue", method="GET", get={"state": "failed"})
    assert json.loads(output.text)["items"] == []
    answer(output, "/medssm/queue", method="GET", get={"state": "<script>"})
    assert output.status == 400 and "<" not in output.text
    answer(output, "/medssm/queue", method="POST", body=b"")
    assert output.status == 405


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "no 'Queue', no 'Rules'"),
        ({"Queue": "q", "Rules": []}, "a list of one rule or more"),
        ({"Queue": "q", "Rules": [{"bundle": "b"}], "Que": 1}, "unknown key 'Que'"),
    ],
)
def test_a_wrong_configuration_is_said_when_orthanc_starts(orthanc, section, message):
    orthanc.settings["MedSSM"] = section
    with pytest.raises(ValueError, match=message):
        Plugin(orthanc)
