"""MLflow's run of a whole: one in each folder, its children, and stores that do not take it."""

from __future__ import annotations

import json

import pytest
import yaml
from mlflow.tracking import MlflowClient
from monai.utils import path_to_sqlite_uri

from medssm_monai.experiments.parent_run import PARENT_TAG, open_parent
from medssm_monai.experiments.plans import Plan, Row

from ..bundles.bundle_runs import give_store


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    configs = tmp_path / "tiny" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.yaml").write_text(yaml.safe_dump({"tracker": {"experiment_name": "tiny"}}), encoding="utf8")
    return Plan(configs.parent, ("dice",), (Row("ours"),), {"max_epochs": 3}, seeds=(0, 1))


def test_a_folder_has_one_run_and_its_children_are_told_apart(plan, tmp_path, caplog):
    out = tmp_path / "out"
    give_store(out)
    parent = open_parent(plan, out, "comparison", "Comparison")
    assert parent.overrides({"tracker#tags": {"site": "a"}}) == {
        "tracker#tags": {"site": "a", PARENT_TAG: parent.run_id}
    }
    client = MlflowClient(path_to_sqlite_uri(out / "mlruns.db"))
    run = client.get_run(parent.run_id)
    assert run.info.status == "RUNNING" and run.data.tags["kind"] == "Comparison"
    assert run.data.params == {"max_epochs": "3", "bundle": "tiny", "seeds": "[0, 1]", "rows": "['ours']"}
    child = client.create_run(run.info.experiment_id, run_name="ours-seed-0", tags={PARENT_TAG: parent.run_id})
    stranger = client.create_run(run.info.experiment_id, run_name="ours-seed-0")
    parent.log_child("ours-seed-0", {"trial_score": 0.5, "unknown": None}, {"pruned": "false"})
    parent.log_child("nobody", {"trial_score": 0.5}, {})
    assert "no run nobody was found" in caplog.text
    assert client.get_run(child.info.run_id).data.metrics == {"trial_score": 0.5}
    assert client.get_run(child.info.run_id).data.tags["pruned"] == "false"
    assert client.get_run(stranger.info.run_id).data.metrics == {}
    table = tmp_path / "comparison.csv"
    table.write_text("row\n")
    first = parent.run_id
    parent.close("FINISHED", [table, tmp_path / "missing.md"])
    assert client.get_run(first).info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(first)] == ["comparison.csv"]
    again = open_parent(plan, out, "comparison", "Comparison")
    assert again.run_id == first and client.get_run(first).info.status == "RUNNING"
    again.close("KILLED")
    client.delete_run(first)
    other = open_parent(plan, out, "comparison", "Comparison")
    assert other.run_id != first
    other.close("FINISHED")


def test_studies_of_two_folders_share_no_run(plan, tmp_path, monkeypatch):
    """On one server, called alike, the first still going on."""
    give_store(tmp_path / "server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", path_to_sqlite_uri(tmp_path / "server" / "mlruns.db"))
    places = [tmp_path / name / "tune" for name in ("a", "b")]
    for place in places:
        place.mkdir(parents=True)
    first, second, again = (open_parent(plan, place, "tune", "Study") for place in (*places, places[0]))
    assert first.run_id == again.run_id != second.run_id
    for parent in (first, second):
        parent.close("FINISHED")


def test_a_store_that_is_not_there_costs_nothing_but_the_run(plan, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    parent = open_parent(plan, tmp_path, "tune", "Study")
    assert parent.run_id is None and parent.overrides({}) == {}
    assert "does not take the run of the whole" in caplog.text
    parent.log_metrics({"best_score": 1.0})
    parent.close("FINISHED")
    assert not (tmp_path / ".tune_mlflow.json").exists()


def test_a_config_that_tracks_nothing_has_no_run(plan, tmp_path):
    (plan.bundle / "configs" / "train.yaml").write_text("val_interval: 1\n", encoding="utf8")
    parent = open_parent(plan, tmp_path, "tune", "Study")
    assert parent.run_id is None and json.dumps(parent.overrides({})) == "{}"
    parent.close("FINISHED")
    assert not (tmp_path / "mlruns.db").exists()
