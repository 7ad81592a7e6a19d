"""Calibrate prediction sets, or masks with a controlled risk, and store the thresholds beside the weights."""

from __future__ import annotations

import json
import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import CommonKeys

from ..bundle.settings import CONFORMAL, saved_settings, settings_file, update_model_settings
from ..bundle.settings_schema import check_settings
from ..data.labels import LabelSet
from ..metrics.conformal import SET_METHODS
from ..metrics.conformal_fit import check_level, fit_prediction_sets, fit_risk_thresholds, require_mapie
from ..metrics.conformal_risk import RISK_METHOD, missed_shares
from ..metrics.predictions import as_predictions
from ..utils.files import replace_file
from ..utils.text_files import write_text
from .class_foreground import class_foregrounds
from .evaluation_report import EvaluationReport, gather_lists
from .events import process_rank

__all__ = ["PredictionSetFit", "RiskFit"]

logger = logging.getLogger(__name__)

NOT_FOR_CALIBRATION = ("training", "test")
CHOSEN_BY_IT = (
    "the validation part has chosen the epoch of these weights (and the temperature of a classification) before it "
    "calibrates them, so that the stated coverage holds approximately; look at that of the test part, or calibrate on "
    "images that chose nothing (train with --hold_out 0.5)"
)


class _ConformalFit(EvaluationReport):
    """Collects an evaluation's items, fits thresholds when it is complete, and writes them into the settings beside the
    weights (``conformal`` in ``model.json``), in one step and nothing else; ``calibration.json`` in the run's folder
    holds the same with the warnings.

    Conformal prediction takes images for exchangeable. Images of one patient or video are not: where groups are known,
    and some have several images, one image of each group is drawn (seed 0), so that the promise is one for an image of
    a new group.

    Args:
        ckpt_path: the weights; their settings lie beside them.
        output_dir: folder of the run.
        part: which part of the data the images are.
        data_name: name of the data set.
        coverage: level that is asked for.
        conditions: settings that the scores depend on, noted with the thresholds.
        group: which images belong together: a function from the file name to the group, or a regular expression. None
            takes the items' own entry ``group`` where every item has one.
        one_per_group: ``False`` takes all images of each group, with a warning: the promise is gone then.
        held_out: record of the images that chose nothing in the training, where the items are these.

    Raises:
        ImportError: MAPIE is missing (at once).
        ValueError: the training or the test part, a coverage out of range (at once); weights without settings.
    """

    def __init__(
        self,
        ckpt_path: str | os.PathLike[str],
        output_dir: str | os.PathLike[str],
        part: str = "validation",
        data_name: str | None = None,
        coverage: float = 0.9,
        conditions: Mapping[str, Any] | None = None,
        group: str | Callable[[str], str] | None = None,
        one_per_group: bool = True,
        held_out: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(output_dir, part, data_name, False, group, None, 0)
        require_mapie()
        if part in NOT_FOR_CALIBRATION:
            raise ValueError(
                f"part is {part!r}: the network has learned the training part, and the test part says whether the "
                "coverage holds. Calibrate on the validation part, or on further images."
            )
        self.ckpt_path, self.level = Path(ckpt_path), check_level(coverage)
        self.held_out = held_out
        self.conditions, self.one_per_group = dict(conditions or {}), bool(one_per_group)
        if saved_settings(self.ckpt_path) is None:
            raise ValueError(f"no {settings_file(self.ckpt_path)} beside the weights to write the thresholds into.")
        self._reset()

    @abstractmethod
    def _values(self, item: Mapping[str, Any]) -> Any:
        """What the fit needs of an item."""

    @abstractmethod
    def _fit(self, values: list[Any]) -> dict[str, Any]:
        """The thresholds, as they are stored."""

    def _reset(self) -> None:
        self._items: dict[str, tuple[str | None, Any]] = {}

    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = self._file_of(item, source, len(self._items))
        try:
            self._items[name] = self._group_of(name, source), self._values(item)
        except ValueError as error:
            raise ValueError(f"cannot calibrate on {name}: {error}") from error

    def _finish(self, engine: Engine) -> None:
        (gathered,) = gather_lists(list(self._items.items()))
        items = dict(gathered)
        self._reset()
        if process_rank() > 0:
            return
        if not items:
            raise ValueError("no images were evaluated, there is nothing to calibrate on; check the data list.")
        groups = [group for group, _ in items.values() if group is not None]
        grouped = len(groups) == len(items)
        values, warnings = self._exchangeable(list(items.values()), grouped)
        conformal = {
            **self._fit(values),
            "level": self.level,
            "images": len(values),
            "one_per_group": grouped and self.one_per_group,
            "groups": len(set(groups)) if grouped else None,
            "data": self.data_name,
            "part": self.name,
            "conditions": json.loads(json.dumps(self.conditions)),
        }
        chosen = [CHOSEN_BY_IT] if self.name == "validation" and self.held_out is None else []
        self._store(conformal, [*warnings, *chosen])

    def _exchangeable(self, items: list[tuple[str | None, Any]], grouped: bool) -> tuple[list[Any], list[str]]:
        """Values to fit, and what must be said of them."""
        values = [value for _, value in items]
        if not grouped:
            said = (
                "no groups are known: the coverage holds if no two images are of one patient or video; else state them"
            )
            return values, [f"{said} with --group"]
        members: dict[str, list[Any]] = {}
        for group, value in items:
            members.setdefault(str(group), []).append(value)
        if len(members) == len(values):
            return values, []
        counted = f"{len(values)} images are of {len(members)} groups (patients, videos)"
        if not self.one_per_group:
            return values, [f"{counted} and all calibrate: the coverage is not guaranteed"]
        rng = np.random.default_rng(0)
        drawn = [several[rng.integers(len(several))] for several in members.values()]
        return drawn, [f"{counted}: one image of each calibrates, and the coverage is that of an image of a new group"]

    def _store(self, conformal: dict[str, Any], warnings: Sequence[str]) -> None:
        file = settings_file(self.ckpt_path)
        settings = {**(saved_settings(self.ckpt_path) or {}), CONFORMAL: conformal}
        check_settings(settings, file, "Nothing was written.")
        for warning in warnings:
            logger.warning("%s of %s: %s", self.name, self.data_name, warning)
        update_model_settings(self.ckpt_path, **{CONFORMAL: conformal})
        with replace_file(self.output_dir / "calibration.json") as temporary:
            write_text(temporary, json.dumps({CONFORMAL: conformal, "warnings": list(warnings)}, indent=2) + "\n")
        shown = conformal.get("thresholds") or conformal["threshold"]
        logger.info(
            "calibrated by %s at a coverage of %g on %d images, %s of %s: threshold %s, written to %s",
            *(conformal["method"], self.level, conformal["images"], self.name, self.data_name, shown, file),
        )
        self.summary = {CONFORMAL: conformal, "warnings": list(warnings)}


class PredictionSetFit(_ConformalFit):
    """Ignite handler for a MONAI evaluator: calibrates the prediction sets of a classification.

    Reads ``pred``, class probabilities ``(K,)`` after post-processing, and ``label`` of each decollated item.

    Args:
        ckpt_path, output_dir, part, data_name, coverage, conditions, group, one_per_group: as above.
        class_names: names of the classes.
        set_method: ``"lac"``, ``"lac_by_class"``, ``"aps"`` or ``"raps"``
            (:class:`~medssm_monai.metrics.PredictionSets`).

    Raises:
        ImportError: MAPIE is missing (at once).
        ValueError: unknown method, the training or the test part (at once); bad items, naming the file; too few images.
    """

    def __init__(self, *arguments: Any, class_names: Sequence[str], set_method: str = "lac", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.class_names, self.method = [str(name) for name in class_names], set_method
        if set_method not in SET_METHODS:
            raise ValueError(f"set_method must be one of {', '.join(SET_METHODS)}, got {set_method!r}.")

    def _values(self, item: Mapping[str, Any]) -> tuple[np.ndarray, int]:
        pred, label = (torch.as_tensor(item[key]).detach().cpu() for key in (CommonKeys.PRED, CommonKeys.LABEL))
        (probabilities,), (number,) = as_predictions(pred.double().reshape(1, -1), label.reshape(-1), self.class_names)
        return probabilities, int(number)

    def _fit(self, values: list[Any]) -> dict[str, Any]:
        probabilities, labels = zip(*values, strict=True)
        sets = fit_prediction_sets(np.stack(probabilities), np.array(labels), self.level, self.method)
        of_raps = {"penalty": sets.penalty, "free": sets.free} if self.method == "raps" else {}
        threshold = list(sets.threshold) if isinstance(sets.threshold, tuple) else sets.threshold
        return {"method": self.method, "threshold": threshold, "classes": sets.classes, **of_raps}


class RiskFit(_ConformalFit):
    """Ignite handler for a MONAI evaluator: calibrates, for each class of a segmentation, the threshold at which masks
    miss on average at most ``1 - coverage`` of an image's foreground.

    Reads ``pred``, probabilities ``(out_channels, *spatial)`` after post-processing, and ``label``, the target of the
    same size, of each decollated item.

    Args:
        ckpt_path, output_dir, part, data_name, coverage, conditions, group, one_per_group: as above.
        labels: the classes.

    Raises:
        ImportError: MAPIE is missing (at once).
        ValueError: the training or the test part (at once); bad items, naming the file; classes that too few images
            show, or whose risk no threshold controls.
    """

    def __init__(self, *arguments: Any, labels: LabelSet | Mapping[str, Any], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.labels = LabelSet.of(labels)

    def _values(self, item: Mapping[str, Any]) -> dict[str, np.ndarray]:
        found = class_foregrounds(item, self.labels)
        return {name: missed_shares(probability[truth]) for name, (probability, truth) in found.items()}

    def _fit(self, values: list[Any]) -> dict[str, Any]:
        risk = fit_risk_thresholds(
            {name: np.stack([one[name] for one in values]) for name in self.labels.names}, self.level
        )
        return {"method": RISK_METHOD, "thresholds": dict(risk.thresholds)}
