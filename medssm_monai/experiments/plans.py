"""Plans of trainings: which rows there are, what each of them changes, and how often each is trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

__all__ = ["Plan", "PlanError", "Row", "Run", "parse_words", "read_plan", "short_digest"]

NEEDED, BUDGETS = {"metric", "rows"}, ("steps", "minutes")
OPTIONAL = {"higher_is_better", "seeds", "overlays", "overrides", "evaluation", "reference", "group"} | {
    "budget",
    "minutes",
    "folds",
    "fold_seed",
}


class PlanError(ValueError):
    """A plan or a command line that cannot be run; the message says why."""


def slug_of(name: str) -> str:
    """A name as a folder name."""
    return re.sub(r"[^0-9a-z]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class Row:
    """One line of the table: its name, overrides by config key, and further config files."""

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a folder name."""
        return slug_of(self.name)


@dataclass(frozen=True)
class Run:
    """One training: a row with a seed, and of a cross-validation one fold (from 1); without them the seed is that of
    the configs, and the data are as they are."""

    row: Row
    seed: int | None = None
    fold: int | None = None

    @property
    def name(self) -> str:
        """The row's name, and the seed and the fold where there are such."""
        parts = [self.row.name, *([] if self.seed is None else [f"seed {self.seed}"])]
        return ", ".join([*parts, *([] if self.fold is None else [f"fold {self.fold}"])])

    @property
    def slug(self) -> str:
        """The same as a folder name."""
        return slug_of(self.name)


@dataclass(frozen=True)
class Plan:
    """Rows that differ in a few settings of one bundle.

    Args:
        bundle: folder of the bundle.
        metrics: figures of the evaluation's ``summary.json`` that the table shows, the main one first.
        rows: lines of the table.
        overrides: of every row; those of a row come after them.
        overlays: config files of every row, by name in ``configs``, between ``train.yaml`` and the overrides.
        seeds: each row is trained once with each of them.
        evaluation: overrides of the evaluation alone.
        reference: name of the row that the others are compared with, image by image.
        higher_is_better: of the metrics.
        group: expression whose first bracket (or whole match) in an image's name is its sequence or patient; these are
            resampled then, not single images.
        minutes: processor time that each training may take; None leaves the number of epochs to the configs.
        folds: of a cross-validation over training and validation part; None trains and evaluates on the parts as they
            are.
        fold_seed: of the draw of the folds.
        fold_files: split files of the folds, once they are drawn (:func:`~.plan_folds.with_folds`).
    """

    bundle: Path
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()
    seeds: tuple[int | None, ...] = (None,)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    higher_is_better: bool = True
    group: str | None = None
    minutes: float | None = None
    folds: int | None = None
    fold_seed: int = 0
    fold_files: tuple[Path, ...] = ()

    @property
    def runs(self) -> list[Run]:
        """All trainings: every row with the first seed (and fold), then every row with the second, and so on."""
        folds = [None] if self.folds is None else range(1, self.folds + 1)
        return [Run(row, seed, fold) for seed in self.seeds for fold in folds for row in self.rows]

    def configs(self, row: Row, *last: str) -> list[str]:
        """Config files of a row: ``train.yaml``, the overlays, and ``last``."""
        names = ("train.yaml", *self.overlays, *row.overlays, *last)
        files = [self.bundle / "configs" / name for name in names]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise PlanError(f"no such config: {', '.join(missing)}")
        return [str(file) for file in files]

    def training_overrides(self, row: Row, seed: int | None = None, fold: int | None = None) -> dict[str, Any]:
        """What a row changes in training; a fold comes as a split file, in place of every other split."""
        parts: dict[str, Any] = {} if seed is None else {"seed": seed}
        if fold is not None:
            parts["split_file"] = str(self.fold_files[fold - 1])
            other = "split_counts"
            if other in _content(self.configs(row)):
                parts[other] = None
        return {**self.overrides, **row.overrides, **parts}

    def evaluation_overrides(self, row: Row, seed: int | None = None, fold: int | None = None) -> dict[str, Any]:
        """The same for the evaluation, but for the settings that it reads beside the checkpoint."""
        kept, overrides = self.settings(), self.training_overrides(row, seed, fold)
        return {key: value for key, value in overrides.items() if key.split("#")[0] not in kept} | dict(self.evaluation)

    def settings(self) -> dict[str, Any]:
        """What the evaluation reads beside the checkpoint, with defaults; nothing where a bundle has no such file."""
        file = self.bundle / "configs" / "settings.yaml"
        return dict(ConfigParser.load_config_file(str(file))) if file.is_file() else {}

    def fingerprint(self, row: Row, seed: int | None = None, fold: int | None = None) -> str:
        """SHA-256 over all that decides a training: the merged configs (not their comments), overrides, budget, and
        whose images are in the fold."""
        config = _content(self.configs(row))
        return _digest([config, self._by_content(self.training_overrides(row, seed, fold), fold), self.minutes])

    def evaluation_fingerprint(self, row: Row, seed: int | None = None, fold: int | None = None) -> str:
        """SHA-256 over all that decides the evaluation of a training's weights."""
        config = _content(self.configs(row, "evaluate.yaml"))
        overrides = self._by_content(self.evaluation_overrides(row, seed, fold), fold)
        return _digest([config, self.settings(), overrides])

    def _by_content(self, overrides: dict[str, Any], fold: int | None) -> dict[str, Any]:
        """A fold's file by what is in it, so that a folder can be moved."""
        if fold is None:
            return overrides
        return {**overrides, "split_file": hashlib.sha256(self.fold_files[fold - 1].read_bytes()).hexdigest()}


def _content(files: Sequence[str]) -> Mapping[str, Any]:
    """The merged configs, to look at; files that did not change are read once."""
    return _read(tuple(files), tuple(Path(file).stat().st_mtime_ns for file in files))


@lru_cache(maxsize=256)
def _read(files: tuple[str, ...], dates: tuple[int, ...]) -> Mapping[str, Any]:
    content: dict[str, Any] = ConfigParser.load_config_files(list(files))
    return content


def short_digest(content: Any) -> str:
    """Eight hexadecimal digits that tell contents apart."""
    return _digest(content)[:8]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def read_plan(
    bundle: Path,
    file: Path | None = None,
    overlays: Sequence[str] = (),
    words: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    minutes: float | None = None,
    folds: int | None = None,
    fold_seed: int | None = None,
) -> Plan:
    """Read the plan of a bundle, ``configs/ablations.yaml`` unless another is named.

    Args:
        bundle: folder of the bundle.
        file: the plan, with the keys of :class:`Plan` (``metric``: a name or a list; ``budget``: ``steps`` or
            ``minutes``) and ``rows`` (``name``, ``overrides``, ``overlays``).
        overlays: further config files for all rows, by name in ``configs``, after those of the plan.
        words: command-line words ``--key value`` that override the plan's ``overrides``, not those of a row.
        seeds: instead of the plan's.
        minutes: makes it a plan of equal processor minutes, or replaces their number.
        folds, fold_seed: make it a cross-validation, or replace the plan's.

    Raises:
        PlanError: a file that is missing or no such plan, words that are no pairs.
    """
    file = file or bundle / "configs" / "ablations.yaml"
    if not file.is_file():
        raise PlanError(f"no plan {file}; name one with --plan FILE")
    plan = yaml.safe_load(file.read_text(encoding="utf8"))
    _check_keys(plan, NEEDED, OPTIONAL, str(file))
    for entry in plan["rows"] or []:
        _check_keys(entry, {"name"}, {"overrides", "overlays"}, f"{file}, a row")
    rows = tuple(
        Row(str(entry["name"]), entry.get("overrides") or {}, tuple(entry.get("overlays") or ()))
        for entry in plan["rows"] or []
    )
    metrics = plan["metric"] if isinstance(plan["metric"], list) else [plan["metric"]]
    found = Plan(
        bundle,
        tuple(map(str, metrics)),
        rows,
        {**(plan.get("overrides") or {}), **parse_words(words)},
        (*(plan.get("overlays") or ()), *overlays),
        tuple(seeds or plan.get("seeds") or (None,)),
        plan.get("evaluation") or {},
        plan.get("reference"),
        bool(plan.get("higher_is_better", True)),
        plan.get("group"),
        _minutes(plan, minutes, file),
        plan.get("folds") if folds is None else folds,
        plan.get("fold_seed", 0) if fold_seed is None else fold_seed,
    )
    _check_folds(found, file)
    _check_rows(found, file)
    return found


def _minutes(plan: Mapping[str, Any], given: float | None, file: Path) -> float | None:
    budget = plan.get("budget", "steps")
    if budget not in BUDGETS or (budget == "steps" and "minutes" in plan):
        raise PlanError(f"{file}: budget is 'steps', or 'minutes' together with minutes: M; got {budget!r}")
    minutes = plan.get("minutes") if given is None else given
    if minutes is None and budget == "steps":
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or minutes <= 0:
        raise PlanError(f"{file}: minutes must be a number above 0 (processor minutes of a training), got {minutes!r}")
    return float(minutes)


def _check_folds(plan: Plan, file: Path) -> None:
    whole = [isinstance(value, int) and not isinstance(value, bool) for value in (plan.folds, plan.fold_seed)]
    if plan.folds is not None and (not whole[0] or plan.folds < 2):
        raise PlanError(f"{file}: folds must be a whole number from 2 on, got {plan.folds!r}")
    if not whole[1] or plan.fold_seed < 0:
        raise PlanError(f"{file}: fold_seed must be a whole number from 0 on, got {plan.fold_seed!r}")
    if plan.folds is None:
        return
    for row in plan.rows:
        given = {"split_file", "split_counts"} & set(row.overrides)
        if given:
            raise PlanError(f"{row.name}: {sorted(given)} overridden, but the folds decide the parts; leave it out")


def _check_rows(plan: Plan, file: Path) -> None:
    names = [row.name for row in plan.rows]
    slugs = [run.slug for run in plan.runs] + [row.slug for row in plan.rows if plan.seeds != (None,)]
    if not names or len(set(slugs)) < len(slugs) or not all(slugs):
        raise PlanError(f"{file} needs rows whose names differ in letters or digits, got {names}, seeds {plan.seeds}")
    if plan.reference is not None and plan.reference not in names:
        raise PlanError(f"{file}: reference is {plan.reference!r}, but the rows are {names}")
    for row in plan.rows:
        if plan.seeds != (None,) and "seed" in plan.training_overrides(row):
            raise PlanError(f"{row.name}: 'seed' is overridden, but the plan has seeds {plan.seeds}; use --seeds")
        if plan.minutes is not None and "max_epochs" in plan.training_overrides(row):
            raise PlanError(f"{row.name}: 'max_epochs' is overridden, but the budget of minutes decides it")


def _check_keys(entry: Any, needed: set[str], optional: set[str], where: str) -> None:
    if not isinstance(entry, dict) or not needed <= set(entry) <= needed | optional:
        found = sorted(map(str, entry)) if isinstance(entry, dict) else entry
        raise PlanError(f"{where}: expected {sorted(needed)} and perhaps {sorted(optional)}, got {found}")


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """``["--max_epochs", "2", "--image_size", "[64, 64]"]`` as overrides; values are read as YAML.

    Raises:
        PlanError: words that are no pairs of ``--key`` and value.
    """
    words = [part for word in words for part in (word.split("=", 1) if re.match(r"--[^\s=]+=", word) else [word])]
    if len(words) % 2 or any(not key.startswith("--") for key in words[::2]):
        raise PlanError(f"expected pairs of --key and value after the two dashes, got {list(words)}")
    return {key[2:]: yaml.safe_load(value) for key, value in zip(words[::2], words[1::2], strict=True)}
