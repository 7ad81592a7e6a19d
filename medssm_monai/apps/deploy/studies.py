"""What the operator does: the engine of the DICOM command, for series that others may have selected."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ...data.studies.series import Series
from ...dicom.engine import JobResult, StudyEngine
from ...dicom.results import OBJECTS, ResultOptions
from ...dicom.selection import Selection
from ...export.archive import ArchivePredictor
from .model import open_model

__all__ = ["SelectedSeries", "build_engine", "run_studies"]

logger = logging.getLogger(__name__)
EXPLANATION = "picture"


@dataclass(frozen=True)
class SelectedSeries(Selection):
    """Rules, and a list of series that have to be in it.

    Attributes:
        uids: Series Instance UIDs; None lets all pass.
    """

    uids: frozenset[str] | None = None

    def why_not(self, series: Series) -> str:
        if self.uids is not None and series.series_uid not in self.uids:
            return "not among the selected series"
        return super().why_not(series)


def build_engine(
    model: str | os.PathLike[str],
    uids: Iterable[str] | None = None,
    options: ResultOptions | None = None,
    selection: Selection | None = None,
    weights: str | None = None,
) -> StudyEngine:
    """The engine of a model.

    Args:
        model, weights: as :func:`~.model.open_model` takes them.
        uids: Series Instance UIDs of the series that were selected; None takes all.
        options: what is written. By default all that there is for the kind of the bundle; of a classification by a
            ``.ts``, which cannot be explained, the report alone.
        selection: further rules.

    Raises:
        ImportError: pydicom or highdicom is not installed.
        FileNotFoundError, ValueError: as :func:`~.model.open_model` does.
    """
    predictor = open_model(model, weights)
    options = options or ResultOptions()
    if not options.objects and isinstance(predictor, ArchivePredictor) and EXPLANATION in OBJECTS[predictor.kind]:
        left = tuple(name for name in OBJECTS[predictor.kind] if name != EXPLANATION)
        options = replace(options, objects=left)
        logger.warning("a .ts has no layers to look into: results are without a picture that explains the class")
    rules = {field.name: getattr(selection or Selection(), field.name) for field in fields(Selection)}
    chosen = SelectedSeries(**rules, uids=None if uids is None else frozenset(uids))
    return StudyEngine(predictor, options, chosen)


def run_studies(
    engine: StudyEngine, input_dir: str | os.PathLike[str], output_dir: str | os.PathLike[str]
) -> list[JobResult]:
    """Predict what a folder holds and write the results below ``output_dir``, whole folders or nothing.

    Returns:
        what became of each prediction; none failed.

    Raises:
        ValueError: there is nothing that the network takes.
        RuntimeError: predictions failed, or files that should be images could not be read; all others were done.
    """
    plan = engine.plan(Path(input_dir))
    for passed in plan.passed:
        logger.info("series %s is passed over: %s", plan.names.uid(passed.series.series_uid), passed.reason)
    if not plan.jobs:
        reasons = sorted({passed.reason for passed in plan.passed} | {reason for _, reason in plan.lost})
        raise ValueError(f"there is nothing in the input that {engine.predictor.name} takes: {'; '.join(reasons)}.")
    results = []
    for result in engine.run(plan, output_dir):
        results.append(result)
        said = result.reason if result.state == "failed" else result.answer
        logger.info("series %s, instance %s: %s, %s", result.series_uid, result.instance_uid, result.state, said)
    wrong = [f"{one.series_uid}, instance {one.instance_uid}: {one.reason}" for one in results if one.state == "failed"]
    wrong += [f"{what}: {reason}" for what, reason in plan.lost]
    if wrong:
        done = len([one for one in results if one.state != "failed"])
        raise RuntimeError(f"{done} of {len(plan.jobs)} predictions done. Not done or not read: {'; '.join(wrong)}")
    return results
