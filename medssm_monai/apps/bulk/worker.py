"""Predicts studies one after the other, with a model that is loaded once."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...bundle.predictions import ClassificationPrediction, SegmentationPrediction
from ...dicom.finished import clear_leftovers, read_result, whole_folder
from ...dicom.results import answer_of
from ...utils.errors import describe_error, ends_the_run
from ...utils.files import replace_file, writable_folder
from .checks import input_checks, sides_of, spacing_of
from .outcome import Input, Outcome
from .study import Study
from .work import RESULTS, SHARED, Work

if TYPE_CHECKING:
    from ...bundle.predictor import Predictor

__all__ = ["StudyWorker", "nameless"]

NOTHING = "there is nothing in it that the network takes"
STAMP = "stamp.txt"  # beside the results of a DICOM study: of which state of its files they are
FIGURE = 4  # digits of a name that may as well be a figure
KIB = 1024


class StudyWorker:
    """Works in the process that hands out the studies, or in one of its own.

    Args:
        work: what is to be done, and how.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._predictor: Predictor | None = None
        self._engine: Any = None
        self._about: Any = None

    def load(self) -> dict[str, Any]:
        """Read the weights and build the network; says which process this is.

        Raises:
            FileNotFoundError: no such bundle or weights on this machine, or it does not see the folder of the results.
            ValueError: other weights than the others have.
        """
        from ...bundle.predictor import Predictor
        from ...dicom.facts import model_facts

        work = self.work
        self._find_results()
        clear_leftovers(Path(work.out) / RESULTS)  # of workers that died on this machine
        if work.threads is not None:
            import torch

            torch.set_num_threads(work.threads)
        self._predictor = Predictor(Path(work.root), dict(work.overrides))
        self._about = model_facts(self._predictor)
        if self._about.weights_sha256 != work.weights_sha256:
            raise ValueError(
                f"a worker found other weights (SHA-256 {self._about.weights_sha256[:16]}) than the run began with "
                f"({work.weights_sha256[:16]}); every machine needs the same file in the same place."
            )
        if work.dicom:
            from ...dicom.engine import StudyEngine

            self._engine = StudyEngine(self._predictor, **work.dicom)
        self._predictor.network.eval()  # built now, not with the first study
        return {"process": os.getpid()}

    def _find_results(self) -> None:
        if not self.work.run_id:
            return
        file = Path(self.work.out) / SHARED
        try:
            same = file.read_text(encoding="ascii").strip() == self.work.run_id
        except OSError:
            same = False
        if not same:
            raise FileNotFoundError(
                "a worker does not see the folder of the results: input and output must lie on a disk that all "
                "machines have under the same path."
            )

    def predict(self, study: Study) -> Outcome:
        """Predict a study, write its results, and say what became of it; what fails is no error."""
        started = time.perf_counter()
        try:
            outcome = self._study(study) if study.uid else self._images(study)
        except Exception as error:
            reason = self._nameless(describe_error(error), study)
            outcome = Outcome("failed", reason, ends_the_run=ends_the_run(error))
        return replace(outcome, seconds=round(time.perf_counter() - started, 4), peak_mb=peak_mb())

    def _nameless(self, reason: str, study: Study) -> str:
        """A reason without what the files are called."""
        if self.work.full_names:
            return reason
        return nameless(reason, study.files)

    def _images(self, study: Study) -> Outcome:
        assert self._predictor is not None  # load() comes first
        folder = self.work.place(study.key) / study.key
        earlier = read_result(folder)
        if earlier is not None and earlier.get("stamp") == study.stamp:
            return _kept(earlier)
        if folder.exists():  # of files that have changed since, or damaged
            shutil.rmtree(folder)
        source = study.files[0] if len(study.files) == 1 else tuple(study.files)
        prediction = self._predictor.predict(source)
        spacing = spacing_of(prediction)
        seen = tuple(Input.of(key, facts, spacing) for key, facts in prediction.measured.items())
        seen = seen or (Input("image", spacing=spacing),)
        unlike = (*prediction.unlike_training, *input_checks(seen, self._predictor))
        result: dict[str, Any] = {
            "key": study.key,
            "stamp": study.stamp,
            "answer": answer_of(prediction),
            **({} if prediction.calibrated is None else {"calibrated": prediction.calibrated}),
            "unlike_training": list(unlike),
            "values": _values(prediction),
            "inputs": [one.plain() for one in seen],
            "model": self._about.described,
        }
        with whole_folder(folder, result) as part:
            _save(prediction, part)
        return _kept(result)

    def _study(self, study: Study) -> Outcome:
        """A DICOM study: its files are linked into a folder of their own, which is sorted as any other."""
        assert self._predictor is not None
        with tempfile.TemporaryDirectory(prefix="medssm-study-") as folder:
            for number, file in enumerate(study.files):
                os.symlink(file, Path(folder) / f"{number:06d}.dcm")
            plan = self._engine.plan(folder)
            self._clear_outdated(study, bool(plan.jobs))
            results = list(self._engine.run(plan, self.work.place(study.key)))
            lost = plan.lost
        seen = tuple(
            Input("image", modality=series.modality, spacing=sides_of(series.affine))
            for job in plan.jobs
            for series in job.series
        )
        failed = [one.reason for one in results if one.state == "failed"] + [reason for _, reason in lost]
        done = [one for one in results if one.state != "failed"]
        unlike = dict.fromkeys(reason for one in done for reason in one.unlike_training)
        checks = dict.fromkeys(input_checks(seen, self._predictor))
        state = "failed" if failed else "done" if done else "passed"
        reason = "; ".join(dict.fromkeys(failed)) or ("" if done else NOTHING)
        answer = done[0].answer if len(done) == 1 else f"{len(done)} predictions" if done else ""
        return Outcome(state, reason, answer, (*unlike, *checks), {}, seen, len(done))

    def _clear_outdated(self, study: Study, going_on: bool) -> None:
        """Remove results of a DICOM study whose files have changed since: of other slices, or of others with the same
        identifiers, which the engine would take for done.

        Args:
            study: as it is now.
            going_on: whether there will be results, beside which its stamp is noted.
        """
        home = self._engine.study_folder(study.uid, self.work.place(study.key))
        noted = home / STAMP
        if noted.is_file() and noted.read_text(encoding="ascii").strip() == study.stamp:
            return
        if home.exists():
            shutil.rmtree(home)
        if going_on:
            writable_folder(home, remedy="Make it writable, or choose another output folder.")
            with replace_file(noted) as part:
                part.write_text(f"{study.stamp}\n", encoding="ascii")


def nameless(reason: str, files: Sequence[str]) -> str:
    """A text without files, their names and their folders.

    Names of a few digits alone are left where they stand without a folder: they would be found in every figure.
    """
    called: dict[str, str] = {}
    for number, file in enumerate(files, start=1):
        folder, name = os.path.split(file)
        shown = "(image)" if len(files) == 1 else f"(file {number} of {len(files)})"
        called.setdefault(file, shown)
        if len(name) > FIGURE or any(letter.isalpha() for letter in name):
            called.setdefault(name, shown)
        if folder != os.path.dirname(folder):
            called.setdefault(folder, "(input folder)")
    longest_first = sorted(called, key=len, reverse=True)
    whole = "|".join(re.escape(one) for one in longest_first)
    return re.sub(rf"(?<!\w)(?:{whole})(?!\w)", lambda found: called[found[0]], reason)


def _kept(result: Mapping[str, Any]) -> Outcome:
    """The outcome that a finished result tells of."""
    seen = tuple(Input.read(one) for one in result["inputs"])
    return Outcome("done", "", str(result["answer"]), tuple(result["unlike_training"]), result["values"], seen, 1)


def _values(prediction: Any) -> dict[str, Any]:
    """Figures for the table of results."""
    if isinstance(prediction, ClassificationPrediction):
        return {"probabilities": [round(float(p), 6) for p in prediction.probabilities]}
    if isinstance(prediction, SegmentationPrediction):
        confidences = prediction.confidences
        return {
            name: {
                "share": round(float(prediction.class_mask(name).mean()), 6),
                "confidence": None if confidences[name] is None else round(float(confidences[name] or 0), 6),
            }
            for name in prediction.labels.names
        }
    return {}


def _save(prediction: Any, folder: Path) -> None:
    """The mask, the label map or the fused image, under a name that is not the input's."""
    if isinstance(prediction, ClassificationPrediction):
        return  # all of it is among the values
    made = prediction.save(folder)
    called = "mask" if isinstance(prediction, SegmentationPrediction) else "fused"
    suffix = ".nii.gz" if made.name.endswith(".nii.gz") else made.suffix
    made.rename(folder / f"{called}{suffix}")


def peak_mb() -> float:
    """The most memory that this process has had, in MB; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / KIB), 1)
