"""What the reports of all tasks share: collecting over an evaluation, gathering over ranks, and when to write."""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from ..bundle.find import bundle_name, running_bundles
from ..data.fingerprint import flag_reasons
from ..engines.batch_items import decollated, item_file
from ..reports.html_page import PAGE, figure_of
from ..reports.next_steps import next_steps
from ..reports.sanity import describe_floors
from ..reports.subgroups import SubgroupTable, subgroup_summary, subgroup_warnings
from ..reports.summary import Resampling
from ..transforms.unlike_training import UNLIKE_TRAINING
from ..utils import writable_folder
from ..utils.group_pattern import group_in
from ..utils.versions import package_versions
from .events import process_rank, world_size
from .provenance import Provenance
from .workflow_state import workflow_state

__all__ = ["EvaluationReport", "gather_lists", "is_best_epoch"]

logger = logging.getLogger(__name__)
SHOWN_REASONS = 3


def gather_lists(*lists: list[Any]) -> list[list[Any]]:
    """Each list with those of the other ranks behind it, in the order of ranks; alone, the lists as they are."""
    if world_size() == 1:
        return list(lists)
    ranks = cast(list[Any], idist.all_gather(lists))
    return [list(chain.from_iterable(parts)) for parts in zip(*ranks, strict=True)]


def is_best_epoch(engine: Engine) -> bool:
    """Whether the evaluator's key metric is the best so far; True for an engine without one."""
    if getattr(engine.state, "key_metric_name", None) is None:  # MONAI's best epoch stays -1 then
        return True
    return workflow_state(engine).best_metric_epoch == engine.state.epoch


class EvaluationReport(ABC):
    """Ignite handler for a MONAI evaluator that scores every item and writes a report when the evaluation is complete.

    A report of one kind of task says what it keeps of an item (``_reset``, ``_score``) and what it makes of all of them
    (``_finish``, which ends with ``_publish``).

    Args:
        output_dir: folder of the report; created when missing.
        name: name of the evaluation, for example ``"test"``.
        data_name: name of the data set; ``"demo"`` appears as "demo (synthetic)" wherever the report is read.
        only_best: write only when the evaluator's key metric is the best so far.
        group: which images belong together: a function from the file name to the group, or a regular expression whose
            first bracket (or whole match) is the group; None takes the items' own entry ``group``.
        details: further facts for the report.
        n_resamples: resamples of the bootstrap.
        subgroups: table with a row per image or patient, :meth:`medssm_monai.reports.SubgroupTable.read`; the figure
            that the evaluation goes by is given for each value of each column too.
        provenance: what ran with what, for the page; None leaves it at the versions.

    An evaluation that is no validation of a training (``only_best``) also writes ``report.html``, one file with its
    pictures inside.
    """

    counted = "images"
    can_be_calibrated = False  # whether there are prediction sets, or masks whose risk is controlled, of this kind

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str,
        data_name: str | None,
        only_best: bool,
        group: str | Callable[[str], str] | None,
        details: Mapping[str, Any] | None,
        n_resamples: int,
        subgroups: str | os.PathLike[str] | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.table = None if subgroups is None else SubgroupTable.read(subgroups)
        self.provenance = provenance
        self._flags: dict[str, str] = {}
        self.name = name
        self.data_name = "demo (synthetic)" if data_name == "demo" else data_name or "not stated"
        self.only_best = only_best
        self.group, self.details, self.n_resamples = group, dict(details or {}), n_resamples
        self.summary: dict[str, Any] = {}
        self._logged: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, before handlers that read ``engine.state.metrics``."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    @abstractmethod
    def _reset(self) -> None:
        """Forget the items of an earlier evaluation."""

    @abstractmethod
    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        """Keep what the report needs of one item; ``source`` is the item as it was loaded."""

    @abstractmethod
    def _finish(self, engine: Engine) -> None:
        """Gather, summarize, and publish."""

    @property
    def page(self) -> Path | None:
        """Where the HTML page goes; None in the validations of a training."""
        return None if self.only_best else self.output_dir / PAGE

    def _started(self, engine: Engine) -> None:
        self._reset()
        self._flags = {}
        if process_rank() == 0:
            writable_folder(self.output_dir)

    def _collect(self, engine: Engine) -> None:
        for item, source in decollated(engine, (CommonKeys.PRED, CommonKeys.LABEL), type(self).__name__):
            self._score(item, source)
            flag, name = {**source, **item}.get(UNLIKE_TRAINING), item_file(source) or item_file(item)
            if isinstance(flag, str) and name is not None:
                self._flags[name] = flag

    @staticmethod
    def _file_of(item: Mapping[str, Any], source: Mapping[str, Any], position: int) -> str:
        """The file of an item; a made-up name, alike in no two ranks, for data that was never read from files."""
        return item_file(source) or item_file(item) or f"rank{process_rank()}_image{position:05d}"

    def _group_of(self, name: str, source: Mapping[str, Any]) -> str | None:
        if self.group is None:
            known = source.get("group")  # the datalist's, of a column of patients, or of DICOM
            return None if known is None else str(known)
        if callable(self.group):
            return str(self.group(Path(name).name))
        found = group_in(Path(name).name, self.group)
        if found is None:
            raise ValueError(f"the group expression {self.group!r} fits no part of the file name {Path(name).name!r}.")
        return found

    def _heading(self) -> dict[str, Any]:
        """What a summary begins with."""
        return {"name": self.name, "data": self.data_name}

    def _warnings(self, of_data: Sequence[str], of_output: Sequence[str]) -> list[str]:
        """What a reader of the figures must know: sentences about the data, and about what the network gives.

        An evaluation says so in the log too. A training logs what is said of its data, once and not after every epoch;
        what its network gives is still changing, and stands in the report of the best epoch.
        """
        if process_rank() == 0:
            for warning in [*of_data, *([] if self.only_best else of_output)]:
                if warning not in self._logged:
                    logger.warning("%s on %s: %s", self.name, self.data_name, warning)
        self._logged.update([*of_data, *of_output])
        return [*of_data, *of_output]

    def _beside(
        self,
        metric: str,
        names: Sequence[str],
        scores: Sequence[float],
        groups: Sequence[str | None],
        bootstrap: Mapping[str, Any],
    ) -> tuple[dict[str, Any], list[str]]:
        """Parts of the summary that every kind of evaluation may have, and warnings of the data: figures of subgroups,
        and how many images are unlike those of the training."""
        found: dict[str, Any] = {}
        warnings = []
        if self.table is not None:
            draws: Resampling = {key: bootstrap[key] for key in ("n_resamples", "confidence", "seed")}  # type: ignore
            found["subgroups"] = subgroup_summary(self.table, metric, names, scores, groups, draws)
            warnings += subgroup_warnings(found["subgroups"], len(names))
        (flags,) = gather_lists(list(self._flags.items()))
        if flags:
            unlike = [told for flag in dict(flags).values() if (told := flag_reasons(flag))]
            reasons = [reason for entry in unlike for reason in entry]
            named = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
            found["unlike_training"] = {"images": len(unlike), "reasons": named}
            if unlike:
                said = (
                    f"{len(unlike)} of {len(names)} {self.counted} are unlike those that the weights were trained with"
                )
                warnings.append(f"{said} ({'; '.join(list(named)[:SHOWN_REASONS])})")
        return found, warnings

    def _advise(self) -> None:
        """Add to the summary what the reader would do next."""
        calibrate = _calibrate_command() if self.can_be_calibrated and not self.only_best else None
        self.summary["next_steps"] = next_steps(self.summary, *figure_of(self.summary), self.counted, calibrate)

    def _provenance(self, engine: Engine) -> dict[str, Any]:
        """What was evaluated, with which versions, and when: given facts, and what the engine knows."""
        facts: dict[str, Any] = {}
        network = getattr(engine, "network", None)
        if isinstance(network, torch.nn.Module):
            from ..ops import backend_for

            device = torch.device(workflow_state(engine).device)
            facts["parameters"] = sum(parameter.numel() for parameter in network.parameters())
            facts["device"] = str(device)
            facts["scan backend"] = backend_for(torch.empty(0, device=device), requires_grad=False)
        return {
            "details": facts | self.details,
            "versions": package_versions(),
            "written": time.strftime("%Y-%m-%d %H:%M:%S"),
        }

    def _publish(self, engine: Engine, figures: Mapping[str, float], write: Callable[[], None]) -> None:
        """Put figures into ``engine.state.metrics`` as ``<name>_<figure>``, and write the files on rank 0 if due."""
        for figure, value in figures.items():
            engine.state.metrics[f"{self.name}_{figure}"] = value
        if process_rank() == 0 and (is_best_epoch(engine) or not self.only_best):
            write()
            if not self.only_best:
                for floor in describe_floors(self.summary["floors"]):
                    logger.info("%s on %s: the floor, %s", self.name, self.data_name, floor)


def _calibrate_command() -> str:
    """That calibrates the weights of the bundle that is being run."""
    names = [name for root in running_bundles() if (name := bundle_name(root))]
    return f"medssm calibrate {names[0] if names else 'BUNDLE'} --dataset_dir FOLDER"
