"""The plugin of Orthanc: queues what is complete and matches a rule. Standard library only.

Orthanc calls :meth:`Plugin.changed` in a thread of its own, which only notes what is said. A thread of the plugin asks
Orthanc about it, and writes the queue; while that fails it tries again. When Orthanc has started, everything in it is
looked through, so that nothing is lost with an Orthanc that was killed.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

from .rules import Rule, content_of, matching_series, read_rules
from .study_queue import STATES, StudyQueue

__all__ = ["Plugin"]

SECTION = "MedSSM"
ROUTE = "/medssm/queue"
PAGE = 100  # series asked for at once
LISTED = 1000  # items in an answer
PAUSE = 5.0  # seconds until what could not be written is tried again
SWEEP = 600  # seconds between looks at Orthanc's changes
LOCKED_SECONDS = 2.0
STABLE_AGE = 60  # Orthanc's own default
STOP_SECONDS = 5.0

STABLE = {"StableSeries": "series", "StableStudy": "study"}  # change -> level
NEW = {"NewSeries": "series", "NewStudy": "study"}

Resource = tuple[str, str]  # level, Orthanc's identifier


class Plugin:
    """Joins Orthanc and a queue.

    Args:
        orthanc: the module that Orthanc's Python plugin offers.

    Raises:
        ValueError: the section ``MedSSM`` of Orthanc's configuration, or the rules that it names, are wrong.
    """

    def __init__(self, orthanc: Any) -> None:
        self.orthanc = orthanc
        settings = json.loads(orthanc.GetConfiguration())
        own = settings.get(SECTION, {})
        known = {"Queue", "Rules", "SweepSeconds", "Existing"}
        wrong = [f"unknown key {key!r}" for key in own if key not in known]
        wrong += [f"no {key!r}" for key in ("Queue", "Rules") if key not in own]
        if wrong:
            raise ValueError(f'section "{SECTION}" of the configuration: {", ".join(wrong)}.')
        self.rules: list[Rule] = read_rules(own["Rules"])
        self.path = str(own["Queue"])
        self.existing = bool(own.get("Existing", True))
        self.sweep_seconds = float(own.get("SweepSeconds", SWEEP))
        self.stable_age = float(settings.get("StableAge", STABLE_AGE))
        self.levels = {rule.level for rule in self.rules}
        self._stable: queue.SimpleQueue[Resource | None] = queue.SimpleQueue()
        self._store: StudyQueue | None = None
        self._thread: threading.Thread | None = None
        self._seen = 0  # number of the last change that was looked at

    def start(self) -> None:
        """Ask Orthanc to call."""
        self.orthanc.RegisterOnChangeCallback(self.changed)
        self.orthanc.RegisterRestCallback(ROUTE, self.answer)

    def changed(self, change: Any, _: Any, resource: str) -> None:
        """Orthanc's callback: note what has happened, and return."""
        kinds = self.orthanc.ChangeType
        if change == kinds.ORTHANC_STARTED:
            self._thread = threading.Thread(target=self._run, name="medssm", daemon=True)
            self._thread.start()
        elif change == kinds.STABLE_SERIES:
            self._stable.put(("series", resource))
        elif change == kinds.STABLE_STUDY:
            self._stable.put(("study", resource))
        elif change == kinds.ORTHANC_STOPPED and self._thread is not None:
            self._stable.put(None)
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        """Until Orthanc stops: queue what it has named, what it held when it started, and what is left over."""
        left: dict[Resource, None] = {}  # in this order
        swept, whole = time.monotonic(), False
        wait = self.stable_age  # a sender that Orthanc's restart has cut off goes on by then
        while True:
            try:
                named = self._stable.get(timeout=wait)
                if named is None:
                    return
                if named[0] in self.levels:
                    left[named] = None
            except queue.Empty:
                pass
            now = time.monotonic()
            due = swept + (self.sweep_seconds if whole else self.stable_age)
            try:
                if now >= due:
                    left.update(dict.fromkeys(self._changes() if whole else self._everything()))
                    swept, whole = now, True
                while left:
                    first = next(iter(left))
                    del left[first]
                    try:
                        self.queue(first)
                    except BaseException:
                        left[first] = None  # after the others
                        raise
                wait = max(swept + (self.sweep_seconds if whole else self.stable_age) - time.monotonic(), 0.05)
            except Exception as error:
                waiting = f"{len(left)} waiting to be queued" if left else "looking through Orthanc"
                self.orthanc.LogError(f"MedSSM: {waiting}, tried again in {PAUSE:g} s: {type(error).__name__}: {error}")
                wait = PAUSE

    def _open(self) -> StudyQueue:
        if self._store is None:
            self._store = StudyQueue(self.path, LOCKED_SECONDS)
        return self._store

    def _get(self, address: str) -> Any:
        return json.loads(self.orthanc.RestApiGet(address))

    def _everything(self) -> list[Resource]:
        """Everything that Orthanc holds, at the levels of the rules; without what it held when it first had this queue,
        where that is not to be predicted."""
        last = int(self._get("/changes?last")["Last"])
        if not self.existing:
            self._seen = self._open().first("first change", last)
            return list(dict.fromkeys(self._changes(NEW | STABLE)))
        self._seen = last
        found: list[Resource] = []
        for level, address in (("series", "/series"), ("study", "/studies")):
            since = 0
            while level in self.levels:
                page = self._get(f"{address}?since={since}&limit={PAGE}")
                found += [(level, name) for name in page]
                since += PAGE
                if len(page) < PAGE:
                    break
        return found

    def _changes(self, levels: dict[str, str] = STABLE) -> list[Resource]:
        """What has become complete since the last look, or what ``levels`` names, by Orthanc's list of changes."""
        found: list[Resource] = []
        while True:
            page = self._get(f"/changes?since={self._seen}&limit={PAGE}")
            found += [(levels[one["ChangeType"]], one["ID"]) for one in page["Changes"] if one["ChangeType"] in levels]
            self._seen = int(page["Last"])
            if page["Done"]:
                return [one for one in found if one[0] in self.levels]

    def queue(self, resource: Resource) -> None:
        """Queue a series or study for each rule that it matches; what is not complete yet will be named again."""
        level, name = resource
        try:
            about = self._get(f"/{'series' if level == 'series' else 'studies'}/{name}")
            series = [about] if level == "series" else self._get(f"/studies/{name}/series")
            study = about if level == "study" else self._get(f"/series/{name}/study")
        except self.orthanc.OrthancException as error:
            if error.args and error.args[0] in (self.orthanc.ErrorCode.UNKNOWN_RESOURCE, UNKNOWN_RESOURCE):
                return  # deleted meanwhile
            raise
        if not about["IsStable"]:
            return
        study_uid = study["MainDicomTags"].get("StudyInstanceUID", "")
        series_uid = about["MainDicomTags"].get("SeriesInstanceUID", "")
        for rule in self.rules:
            if rule.level != level or not (chosen := matching_series(rule, series)):
                continue
            if self._open().add(level, name, rule.bundle, study_uid, series_uid, content_of(chosen)):
                self.orthanc.LogWarning(f"MedSSM: {level} {series_uid or study_uid} queued for {rule.bundle}")

    def answer(self, output: Any, _: str, **request: Any) -> None:
        """Orthanc's callback for ``GET /medssm/queue``: counts and items, of one state with ``?state=failed``."""
        if request["method"] != "GET":
            return output.SendMethodNotAllowed("GET")
        state = request.get("get", {}).get("state")
        if state is not None and state not in STATES:
            return _refuse(output, 400, f"no such state; one of {', '.join(STATES)}.")
        try:
            store = self._open()
            output.AnswerBuffer(store.as_json(store.listing(state, LISTED)), "application/json")
        except Exception as error:
            self.orthanc.LogError(f"MedSSM: the queue cannot be read: {type(error).__name__}: {error}")
            _refuse(output, 503, "the queue cannot be read now; Orthanc's log says why.")


def _refuse(output: Any, status: int, why: str) -> None:
    output.SendHttpStatus(status, why, len(why))


UNKNOWN_RESOURCE = 17  # of Orthanc's error codes
