"""Figures of an evaluation by what a table knows about its images: sex, age group, scanner."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datalists.tables import IMAGE_COLUMNS, read_table
from ..data.errors import DatalistError, Problem
from ..data.readers.files import file_stem
from ..metrics.bootstrap import bootstrap_interval
from ..utils.files import require_file
from ..utils.shown_names import shown_name
from .summary import Resampling

__all__ = ["FEWEST_UNITS", "MOST_VALUES", "SubgroupTable", "subgroup_summary", "subgroup_warnings"]

FEWEST_UNITS = 10
"""Images (groups, where there are any) below which a subgroup gets no interval and is called too small."""
MOST_VALUES = 20
"""Different values of a column above which it makes no subgroups."""
NOT_STATED = "(not stated)"
_NAME_COLUMNS = (*IMAGE_COLUMNS, "name", "case", "patient", "group", "subject", "series")


@dataclass(frozen=True)
class SubgroupTable:
    """What a table knows: column -> name of an image or group -> value."""

    columns: dict[str, dict[str, str]]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> SubgroupTable:
        """Read a table with a column of names and one column for each property.

        Names are in the first column that is called like an image, a case or a patient (``image``, ``file``, ``name``,
        ``patient``, ...), else in the first one: the image as the report calls it, its file name, its stem, or the
        group that it belongs to. An empty cell is "(not stated)".

        Raises:
            FileNotFoundError: no such file.
            DatalistError: no table, no column beside the names, a name with two values, a column of more than
                ``MOST_VALUES`` values; all of them at once.
        """
        file = require_file(path, "table of subgroups", "Correct subgroups, or leave it out.")
        table = read_table(file, "a header and a row per image or patient")
        frame = table.frame()
        names = table.column(_NAME_COLUMNS) or 0
        keys = [str(cell).replace("\\", "/") for cell in frame.iloc[:, names]]
        columns: dict[str, dict[str, str]] = {}
        problems = []
        for number, column in enumerate(frame.columns):
            if number == names:
                continue
            values: dict[str, str] = {}
            for key, cell in zip(keys, frame.iloc[:, number], strict=True):
                if values.setdefault(key, cell or NOT_STATED) != (cell or NOT_STATED):
                    problems.append(Problem("two values of one name", key, f"{values[key]} and {cell} in {column}"))
            different = set(values.values())
            if len(different) > MOST_VALUES:
                expected = f"{len(different)} values; expected {MOST_VALUES} at most, such as bands of ages"
                problems.append(Problem("column that makes no subgroups", column, expected))
            columns[column] = values
        if not columns:
            problems.append(Problem("no column beside the names", Path(file).name, f"found {list(frame.columns)}"))
        if problems:
            raise DatalistError(problems)
        return cls(columns)

    def values(self, names: Sequence[str], groups: Sequence[str | None]) -> dict[str, list[str | None]]:
        """Column -> value of each image; None where no row names it, or its group."""
        found: dict[str, list[str | None]] = {}
        keys = [_keys(name, group) for name, group in zip(names, groups, strict=True)]
        for column, known in self.columns.items():
            found[column] = [next((known[key] for key in own if key in known), None) for own in keys]
        return found


def _keys(name: str, group: str | None) -> list[str]:
    path = Path(name)
    return [shown_name(name), name, path.name, file_stem(path), *([group] if group is not None else [])]


def subgroup_summary(
    table: SubgroupTable,
    metric: str,
    names: Sequence[str],
    scores: Sequence[float],
    groups: Sequence[str | None],
    bootstrap: Resampling,
) -> dict[str, Any]:
    """Mean of a score in each subgroup, with the bootstrap interval of the whole evaluation's kind.

    Args:
        table: what is known of the images.
        metric: what the scores are.
        names, scores, groups: one per image; NaN is left out. Where every image has a group, groups are counted and
            resampled instead of images.
        bootstrap: keyword arguments of ``medssm_monai.metrics.bootstrap_interval``.

    Returns:
        a dict that JSON can hold: ``metric``, ``unit``, ``fewest``, ``columns`` (column, value -> ``images``,
        ``units``, ``mean``, ``low``, ``high``, ``too_few``; the last has no interval), ``without_row`` (images that the
        table does not name).
    """
    whole = all(group is not None for group in groups)
    columns: dict[str, dict[str, Any]] = {}
    missing: set[int] = set()
    for column, values in table.values(names, groups).items():
        missing |= {number for number, value in enumerate(values) if value is None}
        columns[column] = {}
        for value in sorted({value for value in values if value is not None}):
            rows = [row for row, own in enumerate(values) if own == value and not np.isnan(scores[row])]
            if not rows:
                continue
            own_groups = [groups[row] for row in rows] if whole else None
            units = len(set(own_groups)) if own_groups is not None else len(rows)
            interval = bootstrap_interval([scores[row] for row in rows], groups=own_groups, **bootstrap)
            few = units < FEWEST_UNITS
            columns[column][value] = {
                "images": len(rows),
                "units": units,
                "mean": interval.estimate,
                "low": float("nan") if few else interval.low,
                "high": float("nan") if few else interval.high,
                "too_few": few,
            }
    return {
        "metric": metric,
        "unit": "group" if whole else "image",
        "fewest": FEWEST_UNITS,
        "columns": columns,
        "without_row": len(missing),
    }


def subgroup_warnings(found: dict[str, Any], images: int) -> list[str]:
    """A sentence where the table of subgroups does not name every image."""
    missing = found["without_row"]
    if missing == images:
        return ["the table of subgroups names none of these images: its first column must hold their names"]
    return [f"the table of subgroups does not name {missing} of {images} images"] if missing else []
