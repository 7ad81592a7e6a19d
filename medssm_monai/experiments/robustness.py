"""Evaluate weights on clean and on corrupted test images, and write one table (CSV and Markdown).

    python -m medssm_monai.experiments.robustness bundles/medconvmamba --dataset_dir FOLDER --overlay breastmnist.yaml
    python -m medssm_monai.experiments.robustness bundles/mamba_mis --dataset_dir FOLDER --ckpt_path FILE -- --part all
    python -m medssm_monai.experiments.robustness bundles/medconvmamba --dataset_dir demo --rows "noise 0.1" "blur 1.0"

Noise, blur, brightness, JPEG compression and missing patches at three strengths each, and half and double the image
size: each row is an evaluation of the bundle with the setting ``corruption`` (or another size), its figures with
intervals and their paired differences to the clean images. Nothing is trained, and nothing is chosen by these figures.
Corruptions come after images are loaded to [0, 1] and resized, and before the normalization; they depend on the seed
and the image alone. JPEG is for images, not for volumes. A fusion is compared with its clean sources.

Words after the two dashes override settings of all rows. Start the same command again to go on: a row that is complete
and whose settings, weights and seed are unchanged is not repeated. A row that fails is reported in the table, and the
others run all the same.

Exit status: 0, 1 when a row failed, 2 when nothing could be run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from ..bundle.settings import settings_file
from ..bundle.weights import bundle_weights
from ..utils import file_sha256, root_cause
from ..utils.command_line import before_dashes
from .plan_rows import keep, read_record
from .plans import PlanError, Row, parse_words
from .programs import run_program
from .robustness_rows import CLEAN, robustness_rows
from .robustness_scores import DEFAULT_METRICS, compare, figures, read_summary
from .robustness_table import markdown, write_csv

__all__ = ["main"]

logger = logging.getLogger(__name__)
COMMAND = "python -m medssm_monai.experiments.robustness"
STEP = "evaluating"


@dataclass(frozen=True)
class Evaluation:
    """What all rows share: the bundle's config files, the weights, overrides, and the folder of the results."""

    bundle: Path
    overlays: tuple[str, ...]
    weights: Path
    overrides: Mapping[str, Any]
    output: Path

    def files(self) -> list[str]:
        """Config files of every row.

        Raises:
            PlanError: one is missing, or the weights are.
        """
        names = ("train.yaml", *self.overlays, "evaluate.yaml")
        files = [self.bundle / "configs" / name for name in names]
        missing = [str(file) for file in (*files, self.weights) if not file.is_file()]
        if missing:
            raise PlanError(f"no such file: {', '.join(missing)}")
        return [str(file) for file in files]

    def settings(self, row: Row) -> dict[str, Any]:
        """What a row overrides."""
        return {
            **self.overrides,
            **row.overrides,
            "bundle_root": str(self.bundle),
            "output_dir": str(self.output),  # MLflow's store and the demo images, shared by the rows
            "ckpt_path": str(self.weights),
            "run_dir": str(self.output / row.slug / STEP),
            "run_name": row.slug,
        }

    def parser(self) -> ConfigParser:
        """The config of the evaluation of clean images."""
        parser = ConfigParser()
        parser.read_config(self.files())
        parser.update(self.settings(Row(CLEAN)))
        return parser

    def fingerprint(self, row: Row) -> str:
        """SHA-256 over all that decides a row: the merged configs (not their comments), weights and overrides."""
        beside = settings_file(self.weights)
        facts = [
            ConfigParser.load_config_files(self.files()),
            self.settings(row),
            file_sha256(self.weights),
            beside.read_text(encoding="utf8") if beside.is_file() else None,
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def run_row(evaluation: Evaluation, row: Row, metrics: Sequence[str] | None) -> dict[str, Any]:
    """Evaluate a row unless it was done before; its record is kept in ``row.json``."""
    folder = evaluation.output / row.slug
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / STEP
    record: dict[str, Any] = {"name": row.name, "fingerprint": evaluation.fingerprint(row)}
    before = read_record(folder) or {}
    try:
        if before.get("fingerprint") == record["fingerprint"] and "seconds" in before:
            record["seconds"] = before["seconds"]
            logger.info("%s: done before", row.name)
        else:
            start = time.perf_counter()
            overlay = folder / f"{STEP}.yaml"
            overlay.write_text(yaml.safe_dump(evaluation.settings(row), sort_keys=False), encoding="utf8")
            logger.info("%s: %s (output in %s)", row.name, STEP, folder / f"{STEP}.log")
            run_program(STEP, [*evaluation.files(), str(overlay)], folder)
            record["seconds"] = time.perf_counter() - start
        record |= result(place, evaluation.output / Row(CLEAN).slug / STEP, metrics) | {"status": "done"}
    except Exception as error:  # whatever a row's own settings break: the other rows still count
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}".replace("\n", " ")}
    keep(record, folder)
    return record


def result(place: Path, clean: Path, metrics: Sequence[str] | None) -> dict[str, Any]:
    """Figures, intervals and, but for the clean images, paired differences of an evaluation.

    Raises:
        RowError: the evaluation has no such metrics, or is not of the same images as the clean one.
    """
    summary = read_summary(place)
    names = metrics or DEFAULT_METRICS[summary["task"]]
    found = figures(summary, names)
    if place != clean:
        for name, interval in compare(place, clean, names).items():
            bounds = (None if math.isnan(value) else value for value in interval)
            found[name] |= dict(zip(("difference", "difference_low", "difference_high"), bounds, strict=True))
    weights = summary["details"]["weights"]
    return {"figures": found, "images": summary["images"], "data": summary["data"], "weights": weights}


def main(arguments: list[str] | None = None) -> int:
    """Run the rows; returns 1 when one failed."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--dataset_dir", required=True, help="data, as for the bundle's evaluation; demo: synthetic")
    parser.add_argument("--ckpt_path", type=Path, help="weights; default: those that the bundle's inference takes")
    parser.add_argument("--overlay", action="append", default=[], help="config of the bundle for all rows; repeatable")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows, and the clean images")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="figures of the report; default: two of the task")
    parser.add_argument("--seed", type=int, default=0, help="of what is random in a corruption")
    parser.add_argument("--output_dir", type=Path, help="default: eval/robustness of the bundle")
    own, words = before_dashes(given)
    options = parser.parse_args(own)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = options.bundle.resolve()
    data = options.dataset_dir if options.dataset_dir == "demo" else str(Path(options.dataset_dir).resolve())
    weights = Path(options.ckpt_path or bundle_weights(bundle)).resolve()
    output = (options.output_dir or bundle / "eval" / "robustness").resolve()
    try:
        overrides = {**parse_words(words), "dataset_dir": data}
        evaluation = Evaluation(bundle, tuple(options.overlay), weights, overrides, output)
        rows = chosen_rows(evaluation, options.rows, options.seed)
    except (PlanError, ValueError, RuntimeError) as error:
        parser.error(str(root_cause(error)))
    records: list[dict[str, Any]] = []
    output.mkdir(parents=True, exist_ok=True)
    for row in rows:
        records.append(run_row(evaluation, row, options.metrics))
        write_csv(records, output / "robustness.csv")
        names = list(records[0].get("figures", {}))
        text = markdown(records, names, bundle.name, f"{COMMAND} {shlex.join(given)}")
        (output / "robustness.md").write_text(text, encoding="utf8")
        if records[0]["status"] != "done":
            logger.error("The clean images could not be evaluated, so there is nothing to compare with.")
            break
    print(text)
    logger.info("The table is in %s and robustness.csv beside it.", output / "robustness.md")
    return int(any(record["status"] != "done" for record in records))


def chosen_rows(evaluation: Evaluation, names: Sequence[str] | None, seed: int) -> list[Row]:
    """The rows to run, the clean images first.

    Raises:
        PlanError: names of rows that there are not, or files that are missing.
    """
    rows = robustness_rows(evaluation.parser(), seed)
    unknown = set(names or ()) - {row.name for row in rows}
    if unknown:
        raise PlanError(f"no rows {sorted(unknown)}; there are {[row.name for row in rows]}")
    return [row for row in rows if names is None or row.name in names or row.name == CLEAN]


if __name__ == "__main__":
    sys.exit(main())
