"""A folder of DICOM studies in, a folder of results out: the one way that commands, watchers and plugins go."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.studies.find import find_series
from ..data.studies.headers import is_uid, quiet_pydicom
from ..data.studies.series import Found
from ..utils.errors import describe_error, ends_the_run
from ..utils.files import writable_folder
from .codes import segment_codes
from .facts import ModelFacts, model_facts
from .finished import answers_follow_from, clear_leftovers, read_result, whole_folder
from .jobs import Job, Passed, plan_jobs
from .libraries import require_highdicom
from .nameless import Nameless
from .results import ResultOptions, answer_of, predict_job, require_identifiers, write_results
from .selection import Selection
from .sources import picture_of

if TYPE_CHECKING:
    from ..bundle.predictor import Predictor

__all__ = ["JobResult", "StudyEngine", "StudyPlan"]

DIGITS = 16


@dataclass(frozen=True)
class StudyPlan:
    """What a folder holds, and what is going to be predicted.

    Attributes:
        folder: that was read.
        found: series, and files set aside.
        jobs: predictions.
        passed: series that the network does not get, with reasons.
        names: what files are called in texts.
    """

    folder: Path
    found: Found
    jobs: tuple[Job, ...]
    passed: tuple[Passed, ...]
    names: Nameless

    @property
    def lost(self) -> list[tuple[str, str]]:
        """Files and series that should have given a result and could not be used: what they are called, and why."""
        names = self.names
        files = [(names.file(one.path), names.text(one.reason)) for one in self.found.set_aside if one.lost]
        series = [(f"series {names.uid(one.series.series_uid)}", one.reason) for one in self.passed if one.lost]
        return files + series


@dataclass(frozen=True)
class JobResult:
    """What became of one prediction.

    Attributes:
        study_uid, series_uid, instance_uid: of the (first) source; of a picture its instance, of a volume the first
            slice. Those that results have where they are written without the patient.
        frame: of a picture that has several, from 1; else None.
        key: :attr:`.jobs.Job.key`; of results without the patient another one, that follows from it and the secret.
        state: ``"done"``, ``"done before"`` or ``"failed"``.
        reason: of a failure, without names of files.
        answer: the prediction in a few words.
        unlike_training: in which respects the image is unlike those of the training.
        folder: of the results; None for failures.
        files: DICOM objects and JSON files.
        seconds: that it took, of this run.
    """

    study_uid: str
    series_uid: str
    instance_uid: str
    frame: int | None
    key: str
    state: str
    reason: str = ""
    answer: str = ""
    unlike_training: tuple[str, ...] = ()
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    seconds: float = 0.0

    @property
    def objects(self) -> tuple[Path, ...]:
        """The DICOM objects among the files."""
        return tuple(path for path in self.files if path.suffix == ".dcm")


@dataclass
class StudyEngine:
    """One bundle that takes studies.

    Args:
        predictor: of the bundle; its weights are read by the first prediction, or :attr:`about`.
        options: what is written, and how.
        selection: which series.

    Raises:
        ImportError: pydicom or highdicom is not installed.
        ValueError: objects that the bundle's kind does not have, or wrong codes of classes.
    """

    predictor: Predictor
    options: ResultOptions = field(default_factory=ResultOptions)
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        require_highdicom()
        self.options.of(self.predictor.kind)
        self._about: ModelFacts | None = None
        if self.options.segments is not None:
            segment_codes(tuple(self.predictor.task.class_names), self.options.segments)

    @property
    def about(self) -> ModelFacts:
        """The model, as results name it.

        Raises:
            FileNotFoundError: no weights.
        """
        if self._about is None:
            self._about = model_facts(self.predictor)
        return self._about

    def plan(self, folder: str | os.PathLike[str]) -> StudyPlan:
        """Sort a folder and say what would be predicted; no pixels are read.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: rules for sources that the network does not have; an index (DICOMDIR) instead of its folder.
        """
        folder = Path(os.path.abspath(folder))  # "." would be found in every text
        found = find_series(folder)
        jobs, passed = plan_jobs(found, self.predictor, self.selection)
        names = Nameless(found, folder, self.options.deidentify)
        return StudyPlan(folder, found, tuple(jobs), tuple(passed), names)

    def run(self, plan: StudyPlan | str | os.PathLike[str], output_dir: str | os.PathLike[str]) -> Iterator[JobResult]:
        """Predict what a plan says, one after the other, and write the results to
        ``<output_dir>/<study>/<bundle>_<number>/``.

        Such a folder is whole or not there, and has the same name in every run with the same images, weights,
        calibration and options: what is there is passed over. A job that fails does not stop the others.

        Args:
            plan: by :meth:`plan`, or a folder.
            output_dir: may be used by several runs, also at the same time.

        Raises:
            OSError: the disk is full, or cannot be written to; nothing further could be done.
        """
        plan = plan if isinstance(plan, StudyPlan) else self.plan(plan)
        output_dir = Path(output_dir)
        writable_folder(output_dir, remedy="Make it writable, or choose another output folder.")
        clear_leftovers(output_dir)
        for job in plan.jobs:
            yield self._run(plan, job, output_dir)

    def _run(self, plan: StudyPlan, job: Job, output_dir: Path) -> JobResult:
        started = time.perf_counter()
        named = self._named(plan, job)
        try:
            require_identifiers(job)
            folder = self.result_folder(job, output_dir)
            earlier = read_result(folder)
            if earlier is not None:
                return JobResult(**named, state="done before", **_kept(folder, earlier))
            with plan.names.in_logs(), quiet_pydicom():
                source, prediction = predict_job(self.predictor, job)
                result = {
                    **named,
                    "answer": answer_of(prediction),
                    **({} if prediction.calibrated is None else {"calibrated": prediction.calibrated}),
                    "unlike_training": list(getattr(prediction, "unlike_training", ())),
                    "model": self.about.described,
                }
                with whole_folder(folder, result) as part:
                    write_results(self.predictor, job, source, prediction, part, self.about, self.options)
                    result["seconds"] = round(time.perf_counter() - started, 3)
        except Exception as error:
            if ends_the_run(error):
                raise
            reason = plan.names.text(describe_error(error))
            return JobResult(**named, state="failed", reason=reason, seconds=time.perf_counter() - started)
        made = _kept(folder, read_result(folder) or {})
        return JobResult(**named, state="done", **made, seconds=time.perf_counter() - started)

    def result_folder(self, job: Job, output_dir: str | os.PathLike[str]) -> Path:
        """Where the results of a job lie, whether they are there or not."""
        options = self.options
        asked = [
            job.key,
            self.about.weights_sha256,
            sorted(options.of(self.predictor.kind)),
            options.segments,
            options.fractional,
            None if options.deidentify is None else options.deidentify.uid(job.instance_uid),
            *answers_follow_from(self.predictor),
        ]
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        study = job.series[0].study_uid
        if not is_uid(study):  # it becomes the name of a folder
            raise ValueError("the images do not say of which study they are; export them again.")
        return self.study_folder(study, output_dir) / f"{self.predictor.name}_{digest[:DIGITS]}"

    def study_folder(self, uid: str, output_dir: str | os.PathLike[str]) -> Path:
        """Where the results of a study lie, by its (valid) Study Instance UID."""
        return Path(output_dir) / self._uid(uid)

    def _uid(self, uid: str) -> str:
        return uid if self.options.deidentify is None else self.options.deidentify.uid(uid)

    def _named(self, plan: StudyPlan, job: Job) -> dict[str, Any]:
        first = job.series[0]
        return {
            "study_uid": plan.names.uid(first.study_uid),
            "series_uid": plan.names.uid(first.series_uid),
            "instance_uid": plan.names.uid(job.instance_uid),
            "frame": picture_of(first, job.pictures[0])[1] if job.pictures else None,
            "key": job.key if self.options.deidentify is None else self.options.deidentify.key_of(job.key),
        }


def _kept(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "answer": str(result.get("answer", "")),
        "unlike_training": tuple(map(str, result.get("unlike_training", ()))),
        "folder": folder,
        "files": tuple(folder / name for name in result.get("files", ())),
    }
