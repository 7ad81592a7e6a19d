"""Folds of a cross-validation: drawn once for all rows, from the training and validation part that the configs give."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from ..data import DatalistError
from ..data.datalists.folds import fold_parts, write_lists
from ..data.errors import Problem
from ..utils import root_cause
from ..utils.group_pattern import group_in
from .plans import Plan, PlanError, Row

__all__ = ["FOLDS", "Development", "development_items", "with_folds"]

logger = logging.getLogger(__name__)
FOLDS = "folds"
Items = list[dict[str, Any]]


def with_folds(plan: Plan, output: Path) -> Plan:
    """The plan with its folds as split files in ``output/folds``; a plan without folds as it is.

    The test part of the data is in no fold: it stays untouched for the end. Each other item is the test part of one
    fold, once; the validation part of a fold, which chooses the checkpoint, is drawn from its rest. Groups (the column
    ``group_column``, patients of DICOM, or the plan's ``group``) are in one part of every fold; classes are spread
    evenly. The same data and seed give the same files on every machine.

    Args:
        plan: with the number of folds and their seed.
        output: folder of the tables.

    Raises:
        PlanError: data that cannot be read or have no such folds.
    """
    if plan.folds is None:
        return plan
    try:
        data = development_items(plan, output)
        pool, class_names = data.items, data.class_names
        _add_groups(pool, plan.group)
        found = fold_parts(pool, plan.folds, plan.fold_seed, class_names, split=data.split)
    except (OSError, RuntimeError, ValueError) as error:
        raise PlanError(f"no folds: {root_cause(error)}") from error
    groups = {item["group"] for item in pool if "group" in item}
    unit = f"{len(groups)} groups, none of them in two parts" if groups else "each image for itself"
    logger.info(
        "%d folds over %d images (%s); the test part (%d) is not touched", len(found), len(pool), unit, data.held
    )
    files = [output / FOLDS / f"fold{number}.json" for number in range(1, len(found) + 1)]
    for file, (lists, rule) in zip(files, found, strict=True):
        write_lists(lists, file, rule, class_names)
    return replace(plan, fold_files=tuple(files))


@dataclass(frozen=True)
class Development:
    """What there is to fold.

    Attributes:
        items: of the training and the validation part.
        class_names: where there are classes.
        held: how many items the test part has.
        split: the configs' rule for items without classes and groups; volumes are drawn at random.
    """

    items: Items
    class_names: list[str] | None
    held: int
    split: str


def development_items(plan: Plan, output: Path) -> Development:
    """The training and the validation part, as the configs of the plan give them.

    Raises:
        DatalistError: names that several items share, all of them.
        RuntimeError, ValueError, OSError: as the configs' own reader.
    """
    places = {"bundle_root": str(plan.bundle), "output_dir": str(output)}
    with tempfile.TemporaryDirectory(prefix="medssm_folds_") as folder:
        overlay = Path(folder) / "folds.yaml"
        overlay.write_text(yaml.safe_dump({**plan.overrides, **places}, sort_keys=False), encoding="utf8")
        parser = ConfigParser()
        parser.read_config(plan.configs(Row("folds"), str(overlay)))
        lists = parser.get_parsed_content("datalists")
        split = parser.get_parsed_content("split") if "split" in parser else "auto"
        volumes = "spatial_dims" in parser and parser.get_parsed_content("spatial_dims") == 3
    if not isinstance(lists, Mapping) or "training" not in lists:
        raise ValueError("the configs of this bundle have no datalists with a training part to fold")
    pool = [dict(item) for part in ("training", "validation") for item in lists[part]]
    twice = [name for name, count in Counter(item["name"] for item in pool).items() if count > 1]
    if twice:
        raise DatalistError(
            [Problem("name of several images", name, "folds go by name; rename them") for name in twice]
        )
    names = getattr(lists, "class_names", None)
    held, chosen = len(lists.get("test", ())), "random" if volumes and split == "auto" else str(split)
    return Development(pool, None if names is None else list(names), held, chosen)


def _add_groups(pool: Items, pattern: str | None) -> None:
    """Groups by the expression of the plan, where the data have none of their own."""
    if pattern is None:
        return
    if any("group" in item for item in pool):
        raise ValueError(
            f"the plan has group {pattern!r}, but the data have groups of their own (group_column, or patients of "
            "DICOM), by which folds are drawn and intervals resampled; leave group out"
        )
    unfit = []
    for item in pool:
        group = group_in(item["name"], pattern)
        if group is None:
            unfit.append(Problem(f"group {pattern!r} fits no part of the name", item["name"]))
        else:
            item["group"] = group
    if unfit:
        raise DatalistError(unfit)
