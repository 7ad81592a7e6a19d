from __future__ import annotations

import json
import logging
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medssm_monai.handlers import close_evaluation, close_inference, close_training, closing

BUNDLE = Path("bundles") / "thing"


@pytest.fixture
def bundle(tmp_path, monkeypatch, caplog) -> Path:
    """A bundle's folder below the current one, run by ``python -m monai.bundle``, whose lines are caught."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(closing, "run_by_monai", lambda: True)
    monkeypatch.setattr(closing, "python_name", lambda: "python")
    caplog.set_level(logging.INFO)
    (BUNDLE / "models").mkdir(parents=True)
    (BUNDLE / "models" / "model.pt").touch()
    settings = {"variant": "s", "sources": ["MRI", "CT"], "image_size": [64, 64]}
    (BUNDLE / "models" / "model.json").write_text(json.dumps(settings))
    return tmp_path / BUNDLE


def typed(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["monai.bundle", *words])


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def engine(**state: Any) -> SimpleNamespace:
    return SimpleNamespace(state=SimpleNamespace(**state))


BEST = engine(key_metric_name="val_mean_dice", best_metric=0.81234, best_metric_epoch=3)
NEVER = engine(key_metric_name=None, best_metric=-1, best_metric_epoch=-1)
TRACKER = SimpleNamespace(kept_in="sqlite:////a b/mlruns.db")


def train(bundle: Path, run: Path, evaluator: Any = BEST, tracker: Any = TRACKER) -> None:
    close_training(str(bundle), run, bundle / "models", evaluator, engine(epoch=5), tracker)


def test_a_training_ends_with_figure_places_and_the_evaluation(bundle, monkeypatch, caplog):
    run = files(bundle / "eval" / "run", "validation/report.md", "curves.png", ".published")
    config = "['bundles/thing/configs/train.yaml', 'my overlay.yaml', 'bundles/thing/configs/multi_gpu_train.yaml']"
    words = ["--config_file", config, "--dataset_dir", "my images", "--max_epochs", "5", "--variant", "s"]
    words += ["--sources", "['MRI','CT']", "--run_name=x", "--train#dataloader#num_workers", "2", "--value_range", "9"]
    typed(monkeypatch, "run", "training", *words)
    train(bundle, run)
    lines = caplog.messages[-1].splitlines()
    assert lines[:4] == [
        "Trained: best val_mean_dice 0.8123 in epoch 3, of 5 epochs",
        "  weights   bundles/thing/models/model.pt",
        "  report    bundles/thing/eval/run/validation/report.md",
        "  curves    bundles/thing/eval/run/curves.png",
    ]  # and no table: there is none
    assert shlex.split(lines[4])[1:] == [
        *["python", "-m", "mlflow", "ui", "--backend-store-uri"],
        "sqlite:////a b/mlruns.db",
    ]
    configs = "['bundles/thing/configs/train.yaml', 'my overlay.yaml', 'bundles/thing/configs/evaluate.yaml']"
    following = ["python", "-m", "monai.bundle", "run", "evaluating", "--config_file", configs]
    data = ["--dataset_dir", "my images", "--sources", "['MRI','CT']", "--value_range", "9"]
    assert shlex.split(lines[5]) == ["next", *following, *data]
    assert len(lines) == 6


def test_a_training_that_a_host_ran_has_its_weights_in_its_own_folder(bundle, monkeypatch, caplog):
    typed(monkeypatch, "run")
    monkeypatch.setattr(closing, "run_by_monai", lambda: False)
    train(bundle, files(bundle / "eval" / "run", "model.pt"))
    assert caplog.messages[-1].splitlines()[1] == "  weights   bundles/thing/eval/run/model.pt"


def test_an_evaluation_that_a_host_never_ran_ends_without_error(bundle, caplog):
    close_evaluation(str(bundle), bundle / "eval" / "run", bundle / "models" / "model.pt", TRACKER)
    assert caplog.messages == ["Nothing was evaluated."]


def test_a_training_without_validation_or_weights(bundle, monkeypatch, caplog):
    typed(monkeypatch, "run", "training", "--config_file", "bundles/thing/configs/train.yaml")
    (bundle / "models" / "model.pt").unlink()
    train(bundle, bundle, NEVER, SimpleNamespace(kept_in="http://host:5000"))
    assert caplog.messages[-1].splitlines() == [
        "Trained: never validated, 5 epochs",
        "  runs      http://host:5000",
    ]


def predicted(seen, failed=0):
    """An evaluator that has run over ``seen`` images."""
    return SimpleNamespace(seen=seen, done=seen - failed, failures=["failure"] * failed)


def test_other_ranks_say_nothing(bundle, monkeypatch, caplog):
    monkeypatch.setenv("RANK", "1")
    train(bundle, bundle)
    close_inference(str(bundle), bundle / "models" / "model.pt", predicted(2), bundle)
    assert caplog.messages == []


INTERVAL = {"low": 0.7, "high": 0.95}
HEADING = {"name": "test", "data": "demo (synthetic)", "images": 12}
SUMMARIES = {
    "classification": (
        {**HEADING, "confusion_matrix": [], "metrics": {"accuracy": {"value": 0.9, **INTERVAL}}},
        "accuracy 0.9000 (95 % interval 0.7000 to 0.9500) over 12 images, test part of demo (synthetic)",
    ),
    "segmentation": (
        {**HEADING, "cases_by": "dice", "per_image": {"dice": {"mean": 0.9, **INTERVAL}}},
        "dice 0.9000 (95 % interval 0.7000 to 0.9500) over 12 images, test part of demo (synthetic)",
    ),
    "one image": (
        {**HEADING, "images": 1, "cases_by": "dice", "per_image": {"dice": {"mean": 0.9, "low": None, "high": None}}},
        "dice 0.9000 over 1 image, test part of demo (synthetic)",
    ),
    "nothing defined": (
        {**HEADING, "cases_by": "dice", "per_image": {"dice": {"mean": None, "low": None, "high": None}}},
        "dice undefined over 12 images, test part of demo (synthetic)",
    ),
    "fusion": (
        {
            **HEADING,
            "cases_by": "qabf",
            "sources": ["MRI", "CT"],
            "rows": {"fused": {"qabf": {"mean": 0.9, **INTERVAL}}},
        },
        "qabf 0.9000 (95 % interval 0.7000 to 0.9500) over 12 pairs, test part of demo (synthetic)",
    ),
}


@pytest.mark.parametrize("kind", SUMMARIES)
def test_an_evaluation_ends_with_figure_pictures_and_a_prediction(bundle, monkeypatch, caplog, kind):
    summary, figure = SUMMARIES[kind]
    run = files(bundle / "eval" / "run", "report.md", "a.png", "explanations/b.png")
    (run / "summary.json").write_text(json.dumps(summary))
    data = files(bundle / "data", "MRI/one 1.png", "CT/one 1.png")
    table = "per_pair.csv" if kind == "fusion" else "per_image.csv"
    (run / table).write_text(f"image,score\n{data / 'MRI' / 'one 1.png'},0.9\n")
    typed(monkeypatch, "run", "evaluating", "--config_file", "x.yaml", "--device", "cpu", "--part", "test")
    close_evaluation(str(bundle), run, bundle / "models" / "other.pt", TRACKER)
    lines = caplog.messages[-1].splitlines()
    assert lines[0] == f"Evaluated: {figure}"
    assert [line.split()[-1] for line in lines[1:5]] == [
        f"bundles/thing/eval/run/{name}" for name in ("report.md", table, "a.png", "explanations/b.png")
    ]
    source = "bundles/thing/data" if kind == "fusion" else "bundles/thing/data/MRI/one 1.png"
    options = ["--dataset_dir", source, "--ckpt_path", "bundles/thing/models/other.pt", "--device", "cpu"]
    config = ["--config_file", "bundles/thing/configs/inference.yaml"]
    assert shlex.split(lines[-1]) == ["next", "python", "-m", "monai.bundle", "run", *config, *options]


def test_images_that_are_no_files_give_no_command(bundle, monkeypatch, caplog):
    run = files(bundle / "eval" / "run", "report.md")
    (run / "summary.json").write_text(json.dumps(SUMMARIES["classification"][0]))
    (run / "per_image.csv").write_text("image,score\nbreast.npz::test::1,0.9\n")
    typed(monkeypatch, "run", "evaluating")
    close_evaluation(str(bundle), run, bundle / "models" / "model.pt", TRACKER)
    assert not any(line.startswith("  next") for line in caplog.messages[-1].splitlines())


@pytest.mark.parametrize("has_onnx", [True, False])
@pytest.mark.parametrize("weights", ["model.pt", "b.pt"])
def test_an_inference_ends_with_the_results_and_an_export_that_can_run(bundle, monkeypatch, caplog, weights, has_onnx):
    monkeypatch.setattr(closing, "find_spec", lambda name: object() if has_onnx else None)
    option = [] if weights == "model.pt" else ["--ckpt_path", "bundles/thing/models/b.pt"]
    option += [] if has_onnx else ["--formats", "torchscript", "exported"]
    results = files(bundle / "eval" / "fused", "a.png")
    table = files(bundle / "eval", "failed.csv") / "failed.csv"
    close_inference(str(bundle), bundle / "models" / weights, predicted(3), [results, table], "pairs")
    lines = caplog.messages[-1].splitlines()
    assert lines[0] == "Inference finished: 3 of 3 pairs done"
    assert "  results   bundles/thing/eval/fused" in lines
    assert not any("failed.csv" in line for line in lines)  # an earlier run's
    assert shlex.split(lines[-1]) == ["next", "python", "-m", "medssm_monai.export", "bundles/thing", *option]


def test_an_inference_counts_what_failed(bundle, caplog):
    table = files(bundle / "eval", "failed.csv") / "failed.csv"
    close_inference(str(bundle), bundle / "models" / "model.pt", predicted(3, failed=1), [bundle / "eval", table])
    lines = caplog.messages[-1].splitlines()
    assert lines[0] == "Inference finished: 2 of 3 images done, 1 failed"
    assert "            bundles/thing/eval/failed.csv" in lines


def test_in_python_no_commands_of_a_shell(bundle, monkeypatch, caplog):
    monkeypatch.setattr(closing, "run_by_monai", lambda: False)
    train(bundle, bundle)
    close_inference(str(bundle), bundle / "models" / "model.pt", predicted(3), bundle)
    assert not any(line.startswith("  next") for message in caplog.messages for line in message.splitlines())
