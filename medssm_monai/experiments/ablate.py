"""Run a bundle's ablations, one training and one evaluation per row, and write one table (CSV and Markdown).

    python -m medssm_monai.experiments.ablate bundles/medconvmamba                     # on the synthetic demo set
    python -m medssm_monai.experiments.ablate bundles/medconvmamba --overlay pneumoniamnist.yaml -- --dataset_dir FOLDER
    python -m medssm_monai.experiments.ablate bundles/medconvmamba --rows "depth 3" "scan identity" --output_dir FOLDER

The rows are in ``configs/ablations.yaml`` of the bundle; words after the two dashes override settings of all rows.
Start the same command again to go on: a row that is complete and whose settings are unchanged is not repeated. A row
that fails is reported in the table, and the others run all the same.

Exit status: 0, 1 when a row failed, 2 when nothing could be run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from ..networks.complexity import count_complexity
from ..utils import replace_file
from .ablation_plan import Plan, PlanError, Row, read_plan
from .ablation_table import markdown, write_csv

__all__ = ["RowError", "main", "run_program"]

logger = logging.getLogger(__name__)
COMMAND = "python -m medssm_monai.experiments.ablate"
PACKAGE_HOME = Path(__file__).resolve().parents[2]
VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow sends usage data otherwise
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for one another by spinning crawl on a machine that is not idle
}
"""Of the programs started, where the user has not set them."""


class RowError(RuntimeError):
    """A row that failed; the message is the last line of its log."""


def run_row(plan: Plan, row: Row, folder: Path) -> dict[str, Any]:
    """Train and evaluate a row unless it was done before; its record is kept in ``folder/row.json``."""
    file = folder / "row.json"
    record: dict[str, Any] = {"name": row.name, "fingerprint": plan.fingerprint(row), "status": "started"}
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf8"))
        if before["fingerprint"] == record["fingerprint"]:
            record = before
        else:
            logger.info("%s: its settings changed since it ran, so it runs again", row.name)
    summary = folder / "evaluating" / "summary.json"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if "training_seconds" not in record:
            start = time.perf_counter()
            run_bundle(plan, row, folder, "training")
            record["training_seconds"] = time.perf_counter() - start
            keep(record, file)  # a failing evaluation does not cost the training
        if record["status"] == "done" and summary.is_file():
            logger.info("%s: done before", row.name)
        else:
            record |= cost(plan.configs(row, str(folder / "training.yaml")))
            run_bundle(plan, row, folder, "evaluating")
        record |= result(summary, plan.metric)
        record["status"] = "done"
        record.pop("error", None)
    except Exception as error:  # whatever a row's own settings break: the other rows still count
        record = {key: value for key, value in record.items() if key not in ("value", "low", "high")}
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}".replace("\n", " ")}
    keep(record, file)
    return record


def keep(record: Mapping[str, Any], file: Path) -> None:
    """Write a record, whole or not at all."""
    with replace_file(file) as part:
        part.write_text(json.dumps(record, indent=2), encoding="utf8")


def run_bundle(plan: Plan, row: Row, folder: Path, step: str) -> None:
    """Run ``training`` or ``evaluating`` of the bundle as a program of its own; output goes to ``folder/<step>.log``.

    Raises:
        RowError: it failed.
    """
    training = step == "training"
    overrides = plan.training_overrides(row) if training else plan.evaluation_overrides(row)
    places = {
        "bundle_root": str(plan.bundle),
        "output_dir": str(folder.parent),  # MLflow's store and the demo images, shared by the rows
        "ckpt_dir": str(folder / "models"),
        "run_dir": str(folder / step),
        "run_name": row.slug if training else f"{row.slug}-test",
    }
    overlay = folder / f"{step}.yaml"
    overlay.write_text(yaml.safe_dump({**overrides, **places}, sort_keys=False), encoding="utf8")
    files = plan.configs(row, *(() if training else ("evaluate.yaml",)), str(overlay))
    logger.info("%s: %s (output in %s)", row.name, step, folder / f"{step}.log")
    run_program(step, files, folder)


def run_program(step: str, files: list[str], folder: Path) -> None:
    """``python -m monai.bundle run step`` in ``folder``; its output goes to ``step.log`` there.

    Raises:
        RowError: it failed; the message is the last line of its log.
    """
    log = folder / f"{step}.log"
    paths = [str(PACKAGE_HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("w", encoding="utf8") as stream:
        status = subprocess.run(
            [sys.executable, "-m", "monai.bundle", "run", step, "--config_file", str(files)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**VARIABLES, **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        ).returncode
    if status:
        lines = [line.strip() for line in log.read_text(encoding="utf8", errors="replace").splitlines()]
        said = next((line for line in reversed(lines) if line), "nothing was said")
        raise RowError(f"{step} ended with exit status {status}: {said} (all of it in {log})")


def cost(files: list[str]) -> dict[str, Any]:
    """Parameters and multiply-accumulates of the network that these config files build, at their image size."""
    parser = ConfigParser()
    parser.read_config(files)
    network, size = parser.get_parsed_content("network_def"), parser.get_parsed_content("image_size")
    shape = (parser.get_parsed_content("in_channels"), *size)
    counted = count_complexity(network, shape)
    names = ("parameters", "convolutions", "total", "scan_flops")
    return {"input_shape": "x".join(map(str, shape)), **{name: getattr(counted, name) for name in names}}


def result(file: Path, metric: str) -> dict[str, Any]:
    """The metric with its interval, from the report of a classification or (mean over images) of a segmentation."""
    summary = json.loads(file.read_text(encoding="utf8"))
    figures = summary.get("metrics") or summary.get("per_image", {})
    if metric not in figures:
        raise RowError(f"{file} has no metric {metric!r}, only {', '.join(figures)}")
    entry = figures[metric]
    value = entry["value"] if "value" in entry else entry["mean"]
    facts = {key: summary[key] for key in ("images", "data")}
    return {"value": value, "low": entry["low"], "high": entry["high"], **facts}


def main(arguments: list[str] | None = None) -> int:
    """Run the rows; returns 1 when one failed."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--plan", type=Path, help="rows to run; default: configs/ablations.yaml of the bundle")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--overlay", action="append", default=[], help="config of the bundle for all rows; repeatable")
    parser.add_argument("--output_dir", type=Path, help="default: eval/ablations of the bundle")
    cut = given.index("--") if "--" in given else len(given)
    options, words = parser.parse_args(given[:cut]), given[cut + 1 :]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = options.bundle.resolve()
    output = (options.output_dir or bundle / "eval" / "ablations").resolve()
    try:
        plan = read_plan(bundle, options.plan, options.overlay, words)
        chosen = [row for row in plan.rows if options.rows is None or row.name in options.rows]
        unknown = set(options.rows or ()) - {row.name for row in plan.rows}
        if unknown:
            raise PlanError(f"no rows {sorted(unknown)}; the plan has {[row.name for row in plan.rows]}")
        for row in chosen:
            plan.fingerprint(row)  # a config file that is missing shows before the first training
    except PlanError as error:
        parser.error(str(error))
    output.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for row in chosen:
        records.append(run_row(plan, row, output / row.slug))
        write_csv(records, output / "ablations.csv")
        text = markdown(records, plan, f"{COMMAND} {shlex.join(given)}")
        (output / "ablations.md").write_text(text, encoding="utf8")
    print(text)
    logger.info("The table is in %s and %s.", output / "ablations.csv", output / "ablations.md")
    return int(any(record["status"] != "done" for record in records))


if __name__ == "__main__":
    sys.exit(main())
