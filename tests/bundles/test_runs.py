"""Training of every bundle runs on a tiny network, and what it leaves behind is right."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from ..thorough import first_of
from .bundle_runs import BUNDLES, MAMBA_MIS, REPOSITORY, command_line, program

TRAIN = ("train.yaml",)


@pytest.fixture(scope="module", params=BUNDLES, ids=str)
def trained(request, train_tiny):
    """A bundle, and the folder of its finished tiny training of two epochs on the demo set."""
    return request.param, train_tiny(request.param)


def _history(folder):
    with open(folder / "history.csv") as stream:
        return list(csv.DictReader(stream))


def test_training_leaves_a_weights_only_checkpoint_with_its_settings(trained):
    bundle, out = trained
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    assert all(isinstance(v, torch.Tensor) for v in state.values())
    settings = json.loads((out / "models" / "model.json").read_text())
    assert settings["variant"] == bundle.variant
    assert settings[bundle.size_key] == [32, 32]
    last = torch.load(out / "first" / "checkpoint_epoch=2.pt", weights_only=True)
    state = {"model", "optimizer", "lr_scheduler", "early_stop", "best_model", "history", "trainer", "version"}
    assert set(last) == state | {"average"}


def test_training_is_tracked_and_says_that_its_data_are_the_demo_set(trained):
    bundle, out = trained
    client, runs = bundle.mlflow_runs(out)
    first = next(r for r in runs if r.info.run_name == "first")
    assert first.info.status == "FINISHED"
    assert first.data.tags["data"] == "demo"
    assert float(first.data.params["learning_rate"]) > 0
    assert {bundle.key_metric, "train_loss"} <= set(first.data.metrics)
    artifacts = {a.path for a in client.list_artifacts(first.info.run_id)}
    assert {"model.pt", "model.json", "history.csv", "curves.png", "validation"} <= artifacts
    inside = {a.path for a in client.list_artifacts(first.info.run_id, "validation")}
    assert "validation/report.md" in inside
    assert any(path.endswith(".png") for path in inside)
    assert "demo (synthetic)" in (out / "first" / "validation" / "report.md").read_text()
    rows = _history(out / "first")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(np.isfinite(float(row["train_loss"])) for row in rows)


def test_validation_loss_is_the_training_loss_on_the_validation_set(trained, tmp_path):
    bundle, out = trained
    flow = bundle.workflow(TRAIN, tmp_path, **bundle.tiny)
    network, loss, images = (flow.parser.get_parsed_content(key) for key in ("network", "loss", "validate#dataset"))
    average = torch.load(out / "first" / "checkpoint_epoch=2.pt", weights_only=True)["average"]  # that is validated
    weights = {name.removeprefix("module."): value for name, value in average.items() if name != "n_averaged"}
    network.load_state_dict(weights)
    network.eval()
    losses = []
    with torch.no_grad():
        for item in images:
            label = torch.as_tensor(item["label"])[None]
            losses.append(float(loss(network(item["image"][None]), label)))
    row = _history(out / "first")[1]
    assert float(row["val_loss"]) == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    _client, runs = bundle.mlflow_runs(out)
    first = next(r for r in runs if r.info.run_name == "first")
    assert first.data.metrics["val_loss"] == pytest.approx(float(row["val_loss"]))


def test_training_is_repeatable(trained, tmp_path):
    bundle, out = trained
    bundle.run(TRAIN, tmp_path, **{**bundle.tiny, "max_epochs": 2}, run_name="again")
    first, again = (
        [(row["train_loss"], row[bundle.key_metric]) for row in _history(folder)]
        for folder in (out / "first", tmp_path / "again")
    )
    assert first == again


def test_a_training_resumed_under_another_name_takes_the_table_along(trained, tmp_path):
    bundle, out = trained
    checkpoint = str(out / "first" / "checkpoint_epoch=2.pt")
    flow = bundle.run(TRAIN, tmp_path, **{**bundle.tiny, "max_epochs": 3}, resume_from=checkpoint, run_name="more")
    assert [row["epoch"] for row in _history(tmp_path / "more")] == ["1", "2", "3"]
    assert _history(tmp_path / "more")[:2] == _history(out / "first")
    assert flow.trainer.state.epoch == 3


@pytest.mark.parametrize(
    ("bundle", "overlay"), [pytest.param(b, o, id=f"{b}-{o}") for b in BUNDLES for o in b.overlays]
)
def test_overlays_train_one_epoch(bundle, overlay, tmp_path):
    settings = {**bundle.tiny, "datalists#demo_counts": [4, 4, 4], "batch_size": 2}
    if overlay == "protocol.yaml":
        del settings[bundle.size_key]
    bundle.run(("train.yaml", overlay), tmp_path, **settings, run_name="one")
    assert (tmp_path / "models" / "model.pt").is_file()


def test_mamba_mis_trains_with_deep_supervision_and_a_teacher_and_evaluates(tmp_path):
    arguments = {**MAMBA_MIS.tiny["network_args"], "deep_supervision": True}
    settings = {**MAMBA_MIS.tiny, "datalists#demo_counts": [4, 4, 4], "batch_size": 2, "network_args": arguments}
    MAMBA_MIS.run(TRAIN, tmp_path, **settings, run_name="first")
    weights = tmp_path / "models" / "model.pt"
    assert len([name for name in torch.load(weights, weights_only=True) if name.startswith("supervision_heads.")]) == 6
    MAMBA_MIS.run(
        (*TRAIN, "distil.yaml"),
        tmp_path / "taught",
        **settings,
        run_name="second",
        teacher=str(tmp_path / "first"),
        teacher_overlay=False,
    )
    assert json.loads((tmp_path / "taught" / "models" / "model.json").read_text())["network_args"] == arguments
    one = {key: value for key, value in settings.items() if key in ("datalists#demo_counts", "batch_size")}
    MAMBA_MIS.run(("train.yaml", "evaluate.yaml"), tmp_path / "out", ckpt_path=str(weights), **one)
    assert list((tmp_path / "out").rglob("report.md"))


@pytest.mark.integration
@pytest.mark.parametrize("bundle", first_of(BUNDLES), ids=str)
def test_two_processes_train_one_model(bundle, tmp_path):
    configs = [f"bundles/{bundle}/configs/{name}.yaml" for name in ("train", "multi_gpu_train")]
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "monai.bundle", "run"]
    words += ["training", "--config_file", str(configs)]
    words += [*command_line(bundle.tiny, tmp_path), "--run_name", "both"]
    done = program(words, REPOSITORY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.name for p in (tmp_path / "models").glob("[!.]*")) == ["model.json", "model.pt"]
    summary = json.loads((tmp_path / "both" / "validation" / "summary.json").read_text())
    assert "demo (synthetic)" in json.dumps(summary)
    assert summary["images"] == 4
    assert not any(key.startswith("module.") for key in torch.load(tmp_path / "models" / "model.pt", weights_only=True))
    _, runs = bundle.mlflow_runs(tmp_path)
    assert len(runs) == 1


PLACES = ("from the root", "absolute path", "from the bundle")


@pytest.mark.parametrize(
    ("bundle", "place"),
    [
        (BUNDLES[0], PLACES[0]),
        *(pytest.param(bundle, PLACES[0], marks=pytest.mark.thorough) for bundle in BUNDLES[1:]),
        *(pytest.param(BUNDLES[0], place, marks=pytest.mark.thorough) for place in PLACES[1:]),
    ],
    ids=str,
)
def test_the_documented_command_runs_from_anywhere(bundle, place, tmp_path):
    cwd, file = {
        "from the root": (REPOSITORY, f"bundles/{bundle}/configs/train.yaml"),
        "from the bundle": (bundle.folder, "configs/train.yaml"),
        "absolute path": (tmp_path, bundle.config("train.yaml")[0]),
    }[place]
    words = ["-m", "monai.bundle", "run", "training", "--config_file", file, *command_line(bundle.tiny, tmp_path / "o")]
    done = program([*words, "--datalists#demo_counts", "[4,4,4]"], cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "synthetic demo images" in done.stdout + done.stderr
    assert (tmp_path / "o" / "models" / "model.pt").is_file()
