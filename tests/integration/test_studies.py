"""A cross-validation, a grid and an Optuna study that really train, and what MLflow and an overlay have of them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser
from monai.utils import path_to_sqlite_uri

from medssm_monai.experiments import compare, tune

from ..bundles.bundle_runs import MEDSPECTRALNET, give_store

pytestmark = pytest.mark.integration
TINY = {**MEDSPECTRALNET.tiny, "datalists#demo_counts": [16, 8, 4], "fingerprint_data": False}
TINY["validate#best_model#domain"] = None


def tiny_words() -> list[str]:
    return ["--", *(word for key, value in TINY.items() for word in (f"--{key}", json.dumps(value)))]


def family(out: Path):
    """MLflow's client, the run of the whole, and its children by name."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(path_to_sqlite_uri(out / "mlruns.db"))
    runs = client.search_runs([client.get_experiment_by_name(MEDSPECTRALNET.name).experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if run is not parent}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    return client, parent, children


def test_a_cross_validation_scores_every_image_once_below_one_run(tmp_path):
    out, plan = tmp_path / "out", tmp_path / "plan.yaml"
    plan.write_text("metric: [accuracy, roc_auc]\nrows: [{name: tiny}]\n", encoding="utf8")
    give_store(out)
    words = [str(MEDSPECTRALNET.folder), "--plan", str(plan), "--folds", "2", "--output_dir", str(out), *tiny_words()]
    assert compare.main(words) == 0
    names = [
        line["image"]
        for fold in (1, 2)
        for line in csv.DictReader((out / f"tiny-fold-{fold}" / "evaluating" / "per_image.csv").open())
    ]
    assert len(names) == len(set(names)) == 24 and not [name for name in names if "demo_test" in name]
    with (out / "comparison_folds.csv").open(encoding="utf8") as stream:
        accuracy, _ = csv.DictReader(stream)
    assert accuracy["images"] == "24" and float(accuracy["low"]) <= float(accuracy["pooled"]) <= float(accuracy["high"])
    client, parent, children = family(out)
    rows = {re.sub("-[0-9a-f]{8}(?=-test$|$)", "", name) for name in children}  # without the digest of the folder
    assert rows == {"tiny-fold-1", "tiny-fold-2", "tiny-fold-1-test", "tiny-fold-2-test"}
    assert len(children) == 4
    assert parent.data.params["folds"] == "2"
    kept = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"comparison_folds.csv", "comparison_folds.md", "comparison_folds_trainings.csv"} <= kept


def check_study(out: Path, trials: int, keys: set[str]) -> dict:
    client, parent, children = family(out)
    with (out / "tune.csv").open(encoding="utf8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(children) == trials and {row["status"] for row in rows} == {"done"}
    assert not list(out.glob("*/evaluating*"))  # the test part was not looked at
    scores = {run.data.tags["trial"]: run.data.metrics["trial_score"] for run in children.values()}
    assert scores == pytest.approx({row["name"]: float(row["score"]) for row in rows})
    for run in children.values():
        assert {f"trial.{key.replace('#', '.')}" for key in keys} <= set(run.data.params)
        assert max(m.value for m in client.get_metric_history(run.info.run_id, "val_roc_auc")) == pytest.approx(
            run.data.metrics["trial_score"]
        )
    best = yaml.safe_load((out / "best.yaml").read_text(encoding="utf8"))
    assert set(best) == keys and {str(best[key]) for key in keys} == {rows[0][key] for key in keys}
    assert parent.data.metrics["best_score"] == pytest.approx(float(rows[0]["score"]))
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"best.yaml", "tune.csv", "tune.md"}
    return best


def test_a_grid_is_resumed_and_its_best_settings_are_an_overlay(tmp_path, caplog):
    out = tmp_path / "out"
    give_store(out)
    grid = ["--grid", "{'learning_rate': [0.001], 'network_args#dropout': [0.0, 0.3]}", "--output_dir", str(out)]
    assert tune.main([str(MEDSPECTRALNET.folder), *grid, *tiny_words()]) == 0
    best = check_study(out, 2, {"learning_rate", "network_args#dropout"})
    dates = {file: file.stat().st_mtime_ns for file in out.glob("trial-*/models/model.pt")}
    assert len(dates) == 2 and tune.main([str(MEDSPECTRALNET.folder), *grid, *tiny_words()]) == 0
    assert {file: file.stat().st_mtime_ns for file in out.glob("trial-*/models/model.pt")} == dates
    check_study(out, 2, set(best))  # and MLflow has one run of the whole
    parser = ConfigParser()
    parser.read_config([*MEDSPECTRALNET.config("train.yaml"), str(out / "best.yaml")])
    assert parser["network_args"]["dropout"] == best["network_args#dropout"]
    assert parser["learning_rate"] == 0.001


def test_an_optuna_study_is_a_run_with_its_trials_below(tmp_path):
    pytest.importorskip("optuna", reason="Optuna (extra tune) is not installed")
    out = tmp_path / "out"
    give_store(out)
    space = "{'learning_rate': {low: 1.0e-4, high: 1.0e-2, log: true}, 'batch_size': [4, 8]}"
    words = ["--space", space, "--trials", "2", "--output_dir", str(out)]
    tiny = tiny_words()
    number = tiny.index("--batch_size")
    assert tune.main([str(MEDSPECTRALNET.folder), *words, *tiny[:number], *tiny[number + 2 :]]) == 0
    best = check_study(out, 2, {"learning_rate", "batch_size"})
    assert 1e-4 <= best["learning_rate"] <= 1e-2 and best["batch_size"] in (4, 8)
    assert (out / "optuna.db").is_file()
