"""Plans of ablations: which rows there are, and what each of them changes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

__all__ = ["Plan", "PlanError", "Row", "parse_words", "read_plan"]


class PlanError(ValueError):
    """A plan or a command line that cannot be run; the message says why."""


@dataclass(frozen=True)
class Row:
    """One run: the name in the table, overrides by config key, and further config files."""

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a folder name."""
        return re.sub(r"[^0-9a-z]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Plan:
    """Rows that differ in a few settings of one bundle.

    Args:
        bundle: folder of the bundle.
        metric: figure of the evaluation's ``summary.json`` that the table shows.
        rows: the runs.
        overrides: of every row; those of a row come after them.
        overlays: config files, by name in ``configs``, between ``train.yaml`` and the overrides.
    """

    bundle: Path
    metric: str
    rows: tuple[Row, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()

    def configs(self, row: Row, *last: str) -> list[str]:
        """Config files of a row: ``train.yaml``, the overlays, and ``last``."""
        names = ("train.yaml", *self.overlays, *row.overlays, *last)
        files = [self.bundle / "configs" / name for name in names]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise PlanError(f"no such config: {', '.join(missing)}")
        return [str(file) for file in files]

    def training_overrides(self, row: Row) -> dict[str, Any]:
        """What a row changes in training."""
        return {**self.overrides, **row.overrides}

    def evaluation_overrides(self, row: Row) -> dict[str, Any]:
        """The same for the evaluation, but for the settings that it reads beside the checkpoint."""
        kept = self.settings()
        return {key: value for key, value in self.training_overrides(row).items() if key.split("#")[0] not in kept}

    def settings(self) -> dict[str, Any]:
        """What the evaluation reads beside the checkpoint, with defaults; nothing where a bundle has no such file."""
        file = self.bundle / "configs" / "settings.yaml"
        return dict(ConfigParser.load_config_file(str(file))) if file.is_file() else {}

    def fingerprint(self, row: Row) -> str:
        """SHA-256 over all that decides a row: the merged configs (not their comments), settings and overrides."""
        config = ConfigParser.load_config_files(self.configs(row, "evaluate.yaml"))
        training = ConfigParser.load_config_files(self.configs(row))
        text = json.dumps(
            [training, config, self.settings(), self.training_overrides(row)], sort_keys=True, default=str
        )
        return hashlib.sha256(text.encode()).hexdigest()


def read_plan(bundle: Path, file: Path | None = None, overlays: Sequence[str] = (), words: Sequence[str] = ()) -> Plan:
    """Read the plan of a bundle, ``configs/ablations.yaml`` unless another is named.

    Args:
        bundle: folder of the bundle.
        file: the plan: ``metric``, ``rows`` (``name``, ``overrides``, ``overlays``), and ``overrides`` of all rows.
        overlays: further config files for all rows, by name in ``configs``.
        words: command-line words ``--key value`` that override the plan's ``overrides``, not those of a row.

    Raises:
        PlanError: a file that is missing or no such plan, words that are no pairs.
    """
    file = file or bundle / "configs" / "ablations.yaml"
    if not file.is_file():
        raise PlanError(f"no plan {file}; name one with --plan FILE")
    plan = yaml.safe_load(file.read_text(encoding="utf8"))
    _check_keys(plan, {"metric", "rows"}, {"overrides"}, str(file))
    for entry in plan["rows"] or []:
        _check_keys(entry, {"name"}, {"overrides", "overlays"}, f"{file}, a row")
    rows = tuple(
        Row(str(entry["name"]), entry.get("overrides") or {}, tuple(entry.get("overlays") or ()))
        for entry in plan["rows"] or []
    )
    slugs = [row.slug for row in rows]
    if not rows or len(set(slugs)) < len(rows) or not all(slugs):
        raise PlanError(f"{file} needs rows whose names differ in letters or digits, got {[row.name for row in rows]}")
    overrides = {**(plan.get("overrides") or {}), **parse_words(words)}
    return Plan(bundle, str(plan["metric"]), rows, overrides, tuple(overlays))


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
