"""Every config of the Mamba-MIS bundle runs on a tiny network, and what it leaves behind is right."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from monai.utils import path_to_sqlite_uri
from PIL import Image

from .bundle_runs import BUNDLE, REPOSITORY, TINY, command_line, program, run

TRAIN, EVALUATE = ("train.yaml",), ("train.yaml", "evaluate.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a finished tiny training of two epochs on the demo set."""
    out = tmp_path_factory.mktemp("trained")
    run(TRAIN, out, **{**TINY, "max_epochs": 2}, run_name="first")
    return out


def _mlflow_runs(out):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(path_to_sqlite_uri(out / "mlruns.db"))
    experiment = client.get_experiment_by_name("mamba_mis")
    return client, client.search_runs([experiment.experiment_id])


def test_training_leaves_a_weights_only_checkpoint_with_its_settings(trained):
    state = torch.load(trained / "models" / "model.pt", weights_only=True)
    assert all(isinstance(v, torch.Tensor) for v in state.values())
    settings = json.loads((trained / "models" / "model.json").read_text())
    assert settings["variant"] == "mamba_mis_s"
    assert settings["image_size"] == [32, 32]
    last = torch.load(trained / "first" / "checkpoint_epoch=2.pt", weights_only=True)
    assert set(last) == {"model", "optimizer", "lr_scheduler", "trainer"}


def test_training_is_tracked_and_says_that_its_data_are_the_demo_set(trained):
    client, runs = _mlflow_runs(trained)
    first = next(r for r in runs if r.info.run_name == "first")
    assert first.info.status == "FINISHED"
    assert first.data.tags["data"] == "demo"
    assert first.data.params["learning_rate"] == "0.001"
    assert {"val_mean_dice", "train_loss"} <= set(first.data.metrics)
    artifacts = {a.path for a in client.list_artifacts(first.info.run_id)}
    assert {"model.pt", "model.json", "history.csv", "curves.png", "validation"} <= artifacts
    inside = {a.path for a in client.list_artifacts(first.info.run_id, "validation")}
    assert {"validation/report.md", "validation/overlays.png"} <= inside
    assert "demo (synthetic)" in (trained / "first" / "validation" / "report.md").read_text()
    with open(trained / "first" / "history.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(np.isfinite(float(row["train_loss"])) for row in rows)


def test_training_is_repeatable(trained, tmp_path):
    run(TRAIN, tmp_path, **{**TINY, "max_epochs": 2}, run_name="again")
    rows = []
    for folder in (trained / "first", tmp_path / "again"):
        with open(folder / "history.csv") as stream:
            rows.append([(r["train_loss"], r["val_mean_dice"]) for r in csv.DictReader(stream)])
    assert rows[0] == rows[1]


def test_a_resumed_training_goes_on_and_keeps_the_earlier_model(trained, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.pt").write_bytes((trained / "models" / "model.pt").read_bytes())
    checkpoint = str(trained / "first" / "checkpoint_epoch=2.pt")
    flow = run(TRAIN, tmp_path, **{**TINY, "max_epochs": 3}, resume_from=checkpoint, run_name="more")
    with open(tmp_path / "more" / "history.csv") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["3"]
    assert flow.trainer.state.epoch == 3
    assert len(list(models.glob("model_*.pt"))) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"resize_to": [64, 96], "roi_size": [64, 96]},
        {"resize_to": False, "report_metrics": "polyp"},
        {"part": "all"},
    ],
    ids=["trained size", "another size", "sliding window", "all parts"],
)
def test_evaluation_reports_on_the_test_part(trained, tmp_path, overrides):
    settings = {k: TINY[k] for k in ("datalists#demo_counts", "device")}
    ckpt = str(trained / "models" / "model.pt")
    flow = run(EVALUATE, tmp_path, "train", **settings, **overrides, ckpt_path=ckpt, run_name="test")
    summary = json.loads((tmp_path / "test" / "summary.json").read_text())
    with open(tmp_path / "test" / "per_image.csv") as stream:
        rows = list(csv.DictReader(stream))
    part = overrides.get("part", "test")
    assert len(rows) == (16 if part == "all" else 4)
    assert part == "all" or all("demo_test" in row["image"] for row in rows)
    assert "demo (synthetic)" in json.dumps(summary)
    dice = np.mean([float(row["dice"]) for row in rows])
    assert flow.evaluator.state.metrics[f"{part}_dice"] == pytest.approx(dice, abs=1e-4)
    assert (tmp_path / "test" / "overlays.png").stat().st_size > 1000


def test_inference_writes_masks_in_the_geometry_of_the_input(trained, tmp_path, write_image):
    nib = pytest.importorskip("nibabel")
    sizes = {"wide": (90, 40), "two words": (33, 65), "large": (300, 200)}
    for name, (width, height) in sizes.items():
        write_image(tmp_path / "in" / f"{name}.png", width, height)
    affine = np.diag([0.5, 0.7, 1.0, 1.0])
    volume = np.random.default_rng(0).random((50, 41, 1)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, affine), tmp_path / "in" / "slice.nii.gz")
    for resize in ("@image_size", False):
        out = tmp_path / ("resized" if resize else "by windows")
        ckpt = str(trained / "models" / "model.pt")
        run(("inference.yaml",), out, "infer", dataset_dir=str(tmp_path / "in"), ckpt_path=ckpt, resize_to=resize)
        for name, size in sizes.items():
            with Image.open(out / f"{name}.png") as mask:
                assert (mask.size, mask.mode) == (size, "L")
                assert set(np.unique(mask)) <= {0, 255}
        result = nib.load(out / "slice.nii.gz")
        assert result.shape == (50, 41, 1)
        np.testing.assert_allclose(result.affine, affine)


@pytest.mark.parametrize("names", [("train.yaml", "protocol.yaml"), ("train.yaml", "baseline_unet.yaml")], ids="+".join)
def test_overlays_train_one_epoch(names, tmp_path):
    settings = {**TINY, "datalists#demo_counts": [2, 1, 1], "batch_size": 2}
    if "protocol.yaml" in names:
        del settings["image_size"]
    run(names, tmp_path, **settings, run_name="one")
    assert (tmp_path / "models" / "model.pt").is_file()


def test_two_processes_train_one_model(tmp_path):
    configs = [f"bundles/mamba_mis/configs/{name}.yaml" for name in ("train", "multi_gpu_train")]
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "monai.bundle", "run"]
    words += ["training", "--config_file", str(configs)]
    done = program([*words, *command_line(TINY, tmp_path), "--run_name", "both"], REPOSITORY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["model.json", "model.pt"]
    summary = json.loads((tmp_path / "both" / "validation" / "summary.json").read_text())
    assert "demo (synthetic)" in json.dumps(summary)
    with open(tmp_path / "both" / "validation" / "per_image.csv") as stream:
        assert len(list(csv.DictReader(stream))) == 4
    assert not any(key.startswith("module.") for key in torch.load(tmp_path / "models" / "model.pt", weights_only=True))
    _, runs = _mlflow_runs(tmp_path)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("cwd", "file"),
    [
        (REPOSITORY, "bundles/mamba_mis/configs/train.yaml"),
        (BUNDLE, "configs/train.yaml"),
        (None, str(BUNDLE / "configs" / "train.yaml")),
    ],
    ids=["from the root", "from the bundle", "absolute path"],
)
def test_the_documented_command_runs_from_anywhere(cwd, file, tmp_path):
    words = ["-m", "monai.bundle", "run", "training", "--config_file", file, *command_line(TINY, tmp_path / "out")]
    done = program([*words, "--datalists#demo_counts", "[4,2,2]"], cwd or tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "synthetic demo images" in done.stdout + done.stderr
    assert (tmp_path / "out" / "models" / "model.pt").is_file()


def test_the_command_line_asks_for_the_size_of_the_files(trained, tmp_path, write_image):
    """Word by word as documented: MONAI drops options whose value is None, so the configs use False."""
    write_image(tmp_path / "in" / "a.png", 70, 50)
    results = {}
    for resize in ("[32,32]", "False"):
        out = tmp_path / resize.strip("[]")
        words = ["-m", "monai.bundle", "run", "--config_file", str(BUNDLE / "configs" / "inference.yaml")]
        words += ["--dataset_dir", str(tmp_path / "in"), "--output_dir", f"$'{out.as_posix()}'", "--threshold", "False"]
        done = program([*words, "--resize_to", resize, "--ckpt_path", str(trained / "models" / "model.pt")], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        results[resize] = np.asarray(Image.open(out / "a.png"))
    assert all(r.shape == (50, 70) and len(np.unique(r)) > 2 for r in results.values())
    assert not np.array_equal(*results.values())
