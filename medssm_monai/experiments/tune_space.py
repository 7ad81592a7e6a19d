"""What a study searches: keys of a training's config, with the values or the range of each."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .plans import PlanError, Row, short_digest

__all__ = ["Choice", "Range", "Search", "check_keys", "grid_rows", "read_search"]

NOT_SEARCHED = {
    **dict.fromkeys(
        (
            *("dataset_dir", "layout", "subset", "class_names", "labels", "labels_file", "sources", "split"),
            *("split_file", "split_counts", "group_column", "metadata_file", "datalists", "hold_out", "validate"),
        ),
        "decides the validation images, so that trials could not be compared",
    ),
    "select_by": "is the figure that trials are compared by",
    **dict.fromkeys(
        (
            "bundle_root",
            "output_dir",
            "ckpt_dir",
            "run_dir",
            "run_name",
            "kept_name",
            "work_dir",
            "resume",
            "resume_from",
        ),
        "is chosen by the study itself",
    ),
}
FILE_KEYS = {"grid", "space", "trials", "seed", "pruning", "overlays", "overrides"}
RANGE_KEYS = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Choice:
    """Values to choose from, of any kind that YAML has."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones where both (and ``step``) are whole."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))


@dataclass(frozen=True)
class Search:
    """A study before it runs.

    Attributes:
        keys: by config key (``network_args#drop_path``) what it may be.
        trials: how many an Optuna study has in all; None is a grid of all combinations.
        seed: of Optuna's draws.
        pruning: whether Optuna ends trials that fall behind.
        overlays, overrides: of all trials, as in a :class:`~.plans.Plan`.
    """

    keys: Mapping[str, Choice | Range]
    trials: int | None = None
    seed: int = 0
    pruning: bool = True
    overlays: tuple[str, ...] = ()
    overrides: Mapping[str, Any] | None = None

    def as_text(self) -> str:
        """The keys, as something that can be compared."""
        return json.dumps({key: repr(value) for key, value in self.keys.items()}, sort_keys=True)


def grid_rows(search: Search) -> list[Row]:
    """All combinations, the last key changing fastest. A row's name comes from its values: a larger grid later on finds
    the trials of a smaller one."""
    choices = [[(key, value) for value in entry.values] for key, entry in search.keys.items()]  # type: ignore[union-attr]
    found = [dict(combination) for combination in itertools.product(*choices)]
    return [Row(f"trial {short_digest(overrides)}", overrides) for overrides in found]


def read_search(
    file: Path | None = None,
    grid: str | None = None,
    space: str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    pruning: bool | None = None,
) -> Search:
    """A study from a YAML file or from the command line, where single options come before those of the file.

    Args:
        file: ``grid`` (key to a list of values) or ``space`` (key to a list, or to ``{low, high, log, step}``) with
            ``trials``; perhaps ``seed``, ``pruning``, ``overlays`` and ``overrides``.
        grid, space: the same as YAML.
        trials, seed, pruning: of an Optuna study.

    Raises:
        PlanError: everything that is wrong with it.
    """
    content: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise PlanError(f"no file {file}")
        content = _mapping(file.read_text(encoding="utf8"), str(file))
        unknown = sorted(map(str, set(content) - FILE_KEYS))
        if unknown:
            raise PlanError(f"{file}: expected {sorted(FILE_KEYS)}, got {unknown} too")
    given = {"grid": grid, "space": space}
    if any(given.values()):
        content = {key: value for key, value in content.items() if key not in given}
        content |= {key: _mapping(text, f"--{key}") for key, text in given.items() if text}
    options = {"trials": trials, "seed": seed, "pruning": pruning}
    content |= {key: value for key, value in options.items() if value is not None}
    kinds = [kind for kind in ("grid", "space") if content.get(kind)]
    if len(kinds) != 1:
        raise PlanError(
            "give one of --grid \"{'learning_rate': [0.001, 0.003]}\", --space \"{'learning_rate': {low: 0.0001, high: "
            '0.01, log: true}}" with --trials N, or a --plan FILE with grid or space'
        )
    return _checked(content, kinds[0])


def _checked(content: Mapping[str, Any], kind: str) -> Search:
    problems: list[str] = []
    keys: dict[str, Choice | Range] = {}
    entries = content[kind]
    if not isinstance(entries, dict):
        raise PlanError(f"{kind} is a mapping from config keys to values, got {entries!r}")
    for key, value in entries.items():
        entry = _entry(value, kind)
        if isinstance(entry, str):
            problems.append(f"{key}: {entry}")
        else:
            keys[str(key)] = entry
    trials, seed, pruning = content.get("trials"), content.get("seed", 0), content.get("pruning", True)
    if kind == "grid" and trials is not None:
        problems.append("trials: a grid has as many as it has combinations; leave it out, or give space")
    if kind == "space" and not (_is_whole(trials) and (trials or 0) >= 1):
        problems.append(f"trials: how many, a whole number from 1 on (--trials N), got {trials!r}")
    if not _is_whole(seed) or seed < 0:
        problems.append(f"seed: a whole number from 0 on, got {seed!r}")
    if not isinstance(pruning, bool):
        problems.append(f"pruning: true or false, got {pruning!r}")
    overlays, overrides = content.get("overlays") or [], content.get("overrides") or {}
    if not isinstance(overlays, list) or not isinstance(overrides, dict):
        problems.append("overlays is a list of files in configs, overrides a mapping from config keys to values")
    if problems:
        raise PlanError("; ".join(problems))
    return Search(keys, trials, seed, pruning, tuple(map(str, overlays)), overrides)


def _entry(value: Any, kind: str) -> Choice | Range | str:
    """What a key may be, or what is wrong with it."""
    if isinstance(value, list):
        texts = [json.dumps(entry, sort_keys=True, default=str) for entry in value]
        if not value or len(set(texts)) < len(texts):
            return f"expected different values, got {value}"
        return Choice(tuple(value))
    if kind == "grid":
        return f"a grid needs a list of values, got {value!r}"
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= RANGE_KEYS:
        return f"expected a list, or low and high and perhaps log or step, got {value!r}"
    numbers = [value["low"], value["high"], *([value["step"]] if value.get("step") is not None else [])]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        return f"low, high and step are numbers (1.0e-4 with a point), got {value!r}"
    entry = Range(value["low"], value["high"], value.get("log", False), value.get("step"))
    if not isinstance(entry.log, bool) or entry.low >= entry.high or (entry.step is not None and entry.step <= 0):
        return f"expected low < high, step > 0, log true or false, got {value!r}"
    if entry.log and (entry.low <= 0 or entry.step is not None):
        return f"log needs low > 0 and no step, got {value!r}"
    return entry


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise PlanError(f"{where}: expected a mapping from keys to values, got {content!r}")
    return content


def check_keys(search: Search, config: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuse keys that the config has not, that decide what trials are compared by, or that are fixed as well.

    Raises:
        PlanError: naming all of them.
    """
    problems = []
    for key in search.keys:
        first = key.split("#")[0]
        if first not in config:
            near = difflib.get_close_matches(first, [name for name in config if isinstance(name, str)], n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problems.append(f"{key}: the config has no {first}{hint}")
        elif first in NOT_SEARCHED:
            problems.append(f"{key} {NOT_SEARCHED[first]}")
        elif key in overrides:
            problems.append(f"{key} is searched and fixed ({overrides[key]!r}); leave one out")
    if problems:
        raise PlanError("; ".join(problems))
