"""Weights of a bundle become a version of a registered model."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bundle.find import bundle_config, bundle_name, list_bundles
from ...bundle.registered import BUNDLE, CARD_SHA256, MODEL_ID, SETTINGS_SHA256, WEIGHTS_SHA256, Registry
from ...bundle.settings import DOMAIN
from ...bundle.weights import WEIGHTS, find_weights
from ...experiments.programs import RowError
from ...experiments.robustness_scores import read_summary
from ...handlers.mlflow import new_run_name
from ...utils.files import file_sha256
from .packing import write_model

__all__ = ["Source", "bundle_of", "find_source", "register"]

logger = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
RUN_ID = re.compile(r"(?:runs:/)?([0-9a-f]{32})")
VALIDATION = "validation"
SHOWN = re.compile(r"SHA-256 ([0-9a-f]{12})")
TAGS = (BUNDLE, "bundle_version", "task", WEIGHTS_SHA256, SETTINGS_SHA256, CARD_SHA256)


@dataclass(frozen=True)
class Source:
    """What is registered.

    Attributes:
        root: the bundle.
        weights: with their settings beside them.
        report: an evaluation of them, a folder with ``summary.json``; None where there is none.
        run_id: of their training in the same MLflow store, where that is known.
    """

    root: Path
    weights: Path
    report: Path | None = None
    run_id: str | None = None


def find_source(given: str, root: Path, report: str | None, registry: Registry, place: Path) -> Source:
    """Weights by a file, a name in the bundle's ``models/``, the folder of a training, or an MLflow run.

    Args:
        given: what the user named; a run is 32 digits, ``runs:/`` before them or not.
        root: the bundle.
        report: folder of an evaluation; None: of a training's folder, its own ``validation``.
        registry: where runs are looked up.
        place: folder for what is downloaded.

    Raises:
        FileNotFoundError: no such weights, run or report.
        ValueError: a report of other weights.
    """
    run = RUN_ID.fullmatch(given)
    if run is not None and not Path(given).exists():
        weights = _of_run(run[1], registry, place)
        return Source(root, weights, _report(report, weights), run[1])
    folder = Path(given)
    if not folder.is_dir():
        weights = Path(find_weights(root, given))
        return Source(root, weights, _report(report, weights))
    weights, own = folder / WEIGHTS, folder / VALIDATION
    if not weights.is_file():
        raise FileNotFoundError(f"{given} holds no {WEIGHTS}: name the folder of a training, or a file of weights.")
    if report is None and (own / "summary.json").is_file():
        found: Path | None = own
    else:
        found = _report(report, weights)
    return Source(root, weights, found, _run_id(registry, root, folder.resolve().name))


def register(
    source: Source,
    name: str,
    registry: Registry,
    export: Path | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Make a version of a registered model; the model is made with the first one.

    Args:
        source: what is registered.
        name: of the model: letters, digits, ``_``, ``-``, ``.``.
        registry: where.
        export: a verified-export report to keep with it.
        metrics: figures instead of those of ``source.report``.

    Returns:
        Number of the version, and what was registered (:func:`~.packing.describe`).

    Raises:
        ConnectionError: the registry does not answer.
        ValueError: a name that is none, a model of another bundle, or as :func:`~.packing.write_model`.
        FileNotFoundError, RuntimeError: as :func:`~.packing.write_model`.
    """
    from mlflow.exceptions import MlflowException

    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a model: letters, digits, '_', '-' and '.', for example polyps.")
    own = bundle_name(source.root) or source.root.name
    _require_of_bundle(registry, name, own)
    found = metrics if metrics is not None else figures_of(source.report)
    with tempfile.TemporaryDirectory(prefix="medssm-registry-") as place:
        folder = Path(place) / "model"
        facts = write_model(source.root, source.weights, found, export, folder)
        experiment = registry.ask(lambda client: _experiment(client, registry, own))
        run = source.run_id or registry.ask(lambda client: _new_run(client, experiment, name, facts))
        model = registry.ask(
            lambda client: client.create_logged_model(
                experiment, name=name, source_run_id=run, model_type=facts["task"]
            )
        )
        try:
            registry.ask(lambda client: client.log_model_artifacts(model.model_id, os.fspath(folder)))
        except BaseException:
            registry.ask(lambda client: client.finalize_logged_model(model.model_id, "FAILED"))
            raise
        registry.ask(lambda client: client.finalize_logged_model(model.model_id, "READY"))
    try:
        registry.ask(lambda client: client.create_registered_model(name, tags={BUNDLE: own}))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # MLflow looks models:/ID up in a store of its own choice where there is no server
    place = model.artifact_location if registry.is_local else f"models:/{model.model_id}"
    version = registry.ask(
        lambda client: client.create_model_version(
            name, place, run_id=run, tags=_tags(facts) | {MODEL_ID: model.model_id}, model_id=model.model_id
        )
    )
    return str(version.version), facts


def figures_of(report: Path | None) -> dict[str, Any]:
    """Figures of an evaluation with their intervals, how many images it had, and which part it was; no file names."""
    if report is None:
        return {}
    summary = read_summary(report)
    entries = {
        metric: {"value": entry.get("value", entry.get("mean")), "low": entry.get("low"), "high": entry.get("high")}
        for metric, entry in summary["figures"].items()
        if isinstance(entry, Mapping)
    }
    return {"part": summary["name"], "images": summary["images"], "figures": entries}


def _tags(facts: Mapping[str, Any]) -> dict[str, str]:
    tags = {key: str(facts[key]) for key in TAGS if key in facts}
    if facts.get(DOMAIN):
        tags["trained_for"] = str(facts[DOMAIN]["text"])
    measured = facts["metrics"]
    for metric, entry in measured.get("figures", {}).items():
        if entry["value"] is not None:
            interval = "" if entry["low"] is None else f" ({entry['low']:.4g} to {entry['high']:.4g})"
            tags[f"{measured['part']}.{metric}"] = f"{entry['value']:.4g}{interval}"
    return tags


def _require_of_bundle(registry: Registry, name: str, bundle: str) -> None:
    models = registry.ask(lambda client: client.search_registered_models(f"name='{name}'"))
    other = models[0].tags.get(BUNDLE) if models else None
    if models and other != bundle:
        what = f"of the bundle {other!r}" if other else "that medssm registry register has not made"
        raise ValueError(f"{name!r} is a model {what}; weights of {bundle!r} need a name of their own.")


def _experiment(client: Any, registry: Registry, name: str) -> str:
    """The bundle's experiment; files of a SQLite store lie beside it, as those of trainings do."""
    from monai.utils.misc import path_to_uri

    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    place = path_to_uri(Path(registry.uri.removeprefix("sqlite:///")).parent / "mlruns") if registry.is_local else None
    return str(client.create_experiment(name, artifact_location=place))


def _new_run(client: Any, experiment: str, name: str, facts: Mapping[str, Any]) -> str:
    run = client.create_run(experiment, run_name=new_run_name("register", name))
    for metric, entry in facts["metrics"].get("figures", {}).items():
        if entry["value"] is not None:
            client.log_metric(run.info.run_id, f"{facts['metrics']['part']}_{metric}", float(entry["value"]))
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _run_id(registry: Registry, root: Path, run_name: str) -> str | None:
    """The MLflow run of a training's folder, whose name it has, where this store knows it."""
    experiment = registry.ask(lambda client: client.get_experiment_by_name(bundle_name(root) or root.name))
    if experiment is None or not NAME.fullmatch(run_name):
        return None
    query = f"attributes.run_name = '{run_name}'"
    runs = registry.ask(lambda client: client.search_runs([experiment.experiment_id], query))
    return str(runs[0].info.run_id) if len(runs) == 1 else None


def _of_run(run_id: str, registry: Registry, place: Path) -> Path:
    """Weights and settings that a training has logged."""
    from mlflow.exceptions import MlflowException

    try:
        registry.ask(lambda client: client.download_artifacts(run_id, WEIGHTS, os.fspath(place)))
        registry.ask(lambda client: client.download_artifacts(run_id, "model.json", os.fspath(place)))
    except (MlflowException, OSError) as error:
        if isinstance(error, ConnectionError):
            raise
        raise FileNotFoundError(
            f"no run {run_id} with {WEIGHTS} and model.json in this MLflow store. Name the run of a training, its "
            "folder, or a file of weights."
        ) from error
    return place / WEIGHTS


def _report(report: str | None, weights: Path) -> Path | None:
    """An evaluation of these weights.

    Raises:
        FileNotFoundError: no evaluation.
        ValueError: of other weights.
    """
    if report is None:
        return None
    try:
        summary = read_summary(Path(report))
    except RowError:
        raise FileNotFoundError(f"{report} holds no summary.json: name the folder of an evaluation.") from None
    said = SHOWN.search(str(summary.get("details", {}).get("weights")))
    digest = file_sha256(weights)
    if said is None or said[1] != digest[: len(said[1])]:
        raise ValueError(
            f"{report} is the report of other weights ({said[1] if said else 'which, it does not say'}) than these "
            f"({digest[:12]}). Evaluate them: medssm evaluate BUNDLE --weights FILE."
        )
    return Path(report)


def bundle_of(weights: str | os.PathLike[str]) -> Path:
    """The bundle in whose folder, or in a folder of whose name, weights lie.

    Raises:
        FileNotFoundError: none.
    """
    above = list(Path(os.path.abspath(weights)).parents)
    inside = next((folder for folder in above if bundle_config(folder, "inference") is not None), None)
    if inside is not None:
        return inside
    known = list_bundles()
    named = next((known[folder.name] for folder in above if folder.name in known), None)
    if named is None:
        raise FileNotFoundError(
            f"cannot tell which bundle {os.fspath(weights)} belongs to; name it: --bundle NAME ({', '.join(known)})."
        )
    return named
