"""What a bundle's training, evaluation and inference say when they have ended well; called in a config's
``finalize``."""

from __future__ import annotations

import ast
import csv
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine

from ..bundle.callers import in_federation
from ..bundle.closing_message import Place, closing_block
from ..bundle.publish import DONE
from ..bundle.settings import CONFORMAL, saved_settings, settings_file
from ..bundle.weights import WEIGHTS, bundle_weights
from ..utils.command_line import as_typed, option_words, python_name, run_by_monai, short_command
from ..utils.files import shown_path
from ..utils.shown_names import find_shown
from .events import process_rank
from .mlflow import MLflowTracker
from .workflow_state import workflow_state

if TYPE_CHECKING:
    from ..engines import BulkEvaluator

__all__ = ["close_calibration", "close_evaluation", "close_inference", "close_training", "key_figure"]

logger = logging.getLogger(__name__)

PICTURES = "*.png"
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OF_ONE_TRAINING = (
    *("run_id", "run_name", "run_dir", "resume", "resume_from", "init_from", "pretrained_path", "max_epochs"),
    *("ckpt_path", "optimizer", "optimizers", "lr_scheduler", "loss", "train", "tracker", "settings", "domain_text"),
)
OF_ONE_CALIBRATION = ("part", "coverage", "set_method", "one_per_group", "run_name", "run_dir")
OF_EVERY_COMMAND = ("bundle_root", "device", "args_file", "meta_file", "logging_file")


def close_training(
    bundle_root: str,
    run_dir: str | os.PathLike,
    ckpt_dir: str | os.PathLike,
    evaluator: Engine,
    trainer: Engine,
    tracker: MLflowTracker,
) -> None:
    """Log the key figure of the best epoch, where weights, report and curves are, and how to evaluate.

    Args:
        bundle_root: the bundle's folder.
        run_dir: folder of the run.
        ckpt_dir: folder to which a command publishes the weights; federated hosts, which do not call ``run``, leave
            them in the run's folder.
        evaluator: that of the validation, which knows the best epoch.
        trainer: the trainer.
        tracker: which knows where the run is kept.
    """
    if process_rank() > 0:
        return
    run, state = Path(run_dir), workflow_state(evaluator)
    validated = state.key_metric_name is not None and state.best_metric_epoch > 0
    figure = f"best {state.key_metric_name} {state.best_metric:.4f} in epoch {state.best_metric_epoch}, of"
    figure = figure if validated else "never validated,"
    published = Path(ckpt_dir) / WEIGHTS if (run / DONE).is_file() else run / WEIGHTS
    places = {
        "weights": published,
        "report": run / "validation" / "report.md",
        "curves": run / "curves.png",
        "table": run / "history.csv",
    }
    root = Path(bundle_root)
    commands = {
        "runs": _runs(tracker),
        "note": _takes_over(root, published),
        "next": _evaluate_command(root, published),
    }
    logger.info("%s", closing_block(f"Trained: {figure} {trainer.state.epoch} epochs", places, commands))


def close_evaluation(
    bundle_root: str, run_dir: str | os.PathLike, ckpt_path: str | os.PathLike, tracker: MLflowTracker
) -> None:
    """Log the key figure, where report and pictures are, and a command that predicts one of these images.

    Args:
        bundle_root: the bundle's folder.
        run_dir: folder of the report; in it ``explanations/`` where the network was explained.
        ckpt_path: the weights.
        tracker: which knows where the run is kept.
    """
    if process_rank() > 0:
        return
    run = Path(run_dir)
    if not (run / "summary.json").is_file():  # a federated host that only trained
        logger.info("Nothing was evaluated.")
        return
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    explained = sorted((run / "explanations").glob(PICTURES))
    places = {
        "weights": None if in_federation() else ckpt_path,
        "report": [run / "report.md", run / "report.html"],
        "table": [run / "per_image.csv", run / "per_pair.csv"],
        "pictures": [*sorted(run.glob(PICTURES)), *explained],
    }
    commands = {
        "runs": _runs(tracker),
        "next": _infer_command(Path(bundle_root), run, Path(ckpt_path)),
    }
    logger.info("%s", closing_block(f"Evaluated: {key_figure(summary)}", places, commands))


def close_calibration(bundle_root: str, ckpt_path: str | os.PathLike) -> None:
    """Log what the thresholds were calibrated on, where they are, and how to see whether they hold.

    Args:
        bundle_root: the bundle's folder.
        ckpt_path: the weights.
    """
    if process_rank() > 0:
        return
    weights = Path(ckpt_path)
    settings = saved_settings(weights) or {}
    found = settings[CONFORMAL]
    figure = f"Calibrated: {found['method']} at a coverage of {found['level']:g} on {found['images']} images"
    commands = {"next": _check_command(Path(bundle_root), weights)}
    logger.info("%s", closing_block(figure, {"weights": weights, "settings": settings_file(weights)}, commands))


def close_inference(
    bundle_root: str,
    ckpt_path: str | os.PathLike,
    evaluator: BulkEvaluator,
    results: str | os.PathLike | Sequence[str | os.PathLike],
    what: str = "images",
) -> None:
    """Log how many images are done, where the results are, and how to hand the network to another program.

    Args:
        bundle_root: the bundle's folder.
        ckpt_path: the weights.
        evaluator: that of the inference, which knows what failed.
        results: file or folder of the results, or several; those that do not exist are left out. A ``failed.csv``
            counts only when this run has left it.
        what: ``"images"`` or ``"pairs"``.
    """
    if process_rank() > 0:
        return
    root, weights = Path(bundle_root), Path(ckpt_path)
    own = _weights_option(root, weights)
    formats = [] if all(map(find_spec, ONNX_PACKAGES)) else ["--formats", "torchscript", "exported"]
    short = short_command()
    program = (
        ["medssm", "export", short[2]] if short else [python_name(), "-m", "medssm_monai.export", shown_path(root)]
    )
    command = as_typed([*program, *own, *formats])
    several = [results] if isinstance(results, (str, os.PathLike)) else list(results)
    there = [place for place in several if evaluator.failures or Path(place).name != "failed.csv"]
    failed = f", {evaluator.seen - evaluator.done} failed" if evaluator.failures else ""
    named = what[:-1] if evaluator.seen == 1 else what
    figure = f"Inference finished: {evaluator.done} of {evaluator.seen} {named} done{failed}"
    places: dict[str, Place | Sequence[Place]] = {"weights": weights, "results": there}
    logger.info("%s", closing_block(figure, places, {"next": command if run_by_monai() else ""}))


def key_figure(summary: Mapping[str, Any]) -> str:
    """The first figure of a report's ``summary.json`` with its interval, and over how many images."""
    if "confusion_matrix" in summary:
        name, entry = "accuracy", summary["metrics"]["accuracy"]
    elif "rows" in summary:
        name = summary["cases_by"]
        entry = summary["rows"]["fused"][name]
    else:
        name = summary["cases_by"]
        entry = summary["per_image"][name]
    value = entry["value"] if "value" in entry else entry["mean"]
    shown = "undefined" if value is None else f"{value:.4f}"
    if None not in (entry["low"], entry["high"]):  # a single image has no interval
        shown += f" (95 % interval {entry['low']:.4f} to {entry['high']:.4f})"
    many = ("pair" if "rows" in summary else "image") + ("" if summary["images"] == 1 else "s")
    return f"{name} {shown} over {summary['images']} {many}, {summary['name']} part of {summary['data']}"


def _takes_over(root: Path, published: Path) -> str:
    """That a training's weights now stand before those that come with the bundle, and how these are named."""
    shipped = root / "models" / WEIGHTS
    if published == shipped or published != Path(bundle_weights(root)) or not shipped.is_file():
        return ""
    named = "--weights shipped" if short_command() else f"--ckpt_path {shown_path(shipped)}"
    return f"predictions take these weights from now on; {named} takes those that come with the bundle"


def _weights_option(root: Path, weights: Path) -> list[str]:
    """What names these weights in a command; nothing where the bundle takes them by itself."""
    return [] if weights == Path(bundle_weights(root)) else ["--ckpt_path", shown_path(weights)]


def _runs(tracker: MLflowTracker) -> str:
    """How to look at the tracked run: the server, or the command that shows the file."""
    uri = tracker.kept_in
    if uri is None or not uri.startswith("sqlite:"):
        return uri or ""
    return as_typed([python_name(), "-m", "mlflow", "ui", "--backend-store-uri", uri])


def _typed_configs(options: Mapping[str, Sequence[str]], default: Path) -> list[str]:
    """The config files of this command, as they were typed."""
    words = options.get("config_file")
    if not words:
        return [shown_path(default)]
    text = words[1] if len(words) > 1 else words[0].partition("=")[2]
    files = ast.literal_eval(text) if text.strip().startswith(("[", "(")) else text.split(",")
    return [str(file) for file in files]


def _command(action: Sequence[str], configs: Sequence[str], options: Sequence[str]) -> str:
    files = configs[0] if len(configs) == 1 else str(list(configs))
    return as_typed([python_name(), "-m", "monai.bundle", "run", *action, "--config_file", files, *options])


def _evaluate_command(root: Path, weights: Path) -> str:
    """This training's command as an evaluation: the same configs and data, without what only a training has."""
    if not run_by_monai() or not weights.is_file():
        return ""
    _, options = option_words(sys.argv[1:])
    settings = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    left_out = {*OF_ONE_TRAINING, *settings, "config_file"} - {"sources"}
    kept = [
        word for name, words in options.items() if name.split("#")[0].split("::")[0] not in left_out for word in words
    ]
    if short := short_command():
        return as_typed([short[0], "evaluate", *short[2:], *_without_flags(kept)])
    configs = [
        file for file in _typed_configs(options, root / "configs" / "train.yaml") if "multi_gpu_train" not in file
    ]
    return _command(["evaluating"], [*configs, shown_path(root / "configs" / "evaluate.yaml")], kept)


def _check_command(root: Path, weights: Path) -> str:
    """This calibration's command as an evaluation of the test part."""
    if not run_by_monai():
        return ""
    _, options = option_words(sys.argv[1:])
    left_out = {"config_file", "ckpt_path", *OF_ONE_CALIBRATION}
    kept = [word for name, words in options.items() if name not in left_out for word in words]
    own = _weights_option(root, weights)
    if short := short_command():
        return as_typed([short[0], "evaluate", *short[2:], *own, *_without_flags(kept)])
    configs = [file for file in _typed_configs(options, root / "configs" / "train.yaml") if "calibrate" not in file]
    return _command(["evaluating"], configs, [*own, *kept])


def _infer_command(root: Path, run: Path, weights: Path) -> str:
    source = _evaluated(run)
    if not run_by_monai() or source is None:
        return ""
    _, options = option_words(sys.argv[1:])
    kept = [word for name, words in options.items() if name in OF_EVERY_COMMAND for word in words]
    own = _weights_option(root, weights)
    if short := short_command():
        return as_typed([short[0], "predict", short[2], shown_path(source), *own, *_without_flags(kept)])
    config = shown_path(root / "configs" / "inference.yaml")
    return _command([], [config], ["--dataset_dir", shown_path(source), *own, *kept])


def _without_flags(words: Sequence[str]) -> list[str]:
    """Options but ``--verbose True``, which the short command has as a flag."""
    return [word for name, pair in option_words(words)[1].items() if name != "verbose" for word in pair]


def _evaluated(run: Path) -> Path | None:
    """One of the images that were evaluated; of pairs in two folders the folder above; None where there is no file."""
    for table in ("per_image.csv", "per_pair.csv"):
        if not (run / table).is_file():
            continue
        with open(run / table, newline="", encoding="utf-8") as stream:
            first = next(csv.DictReader(stream))
        path = find_shown(first.get("image") or next(iter(first.values())))
        if path is not None and table == "per_pair.csv":
            sources = json.loads((run / "summary.json").read_text(encoding="utf-8"))["sources"]
            folder = path.parent.parent
            return folder if all((folder / source).is_dir() for source in sources) else None
        return path
    return None
