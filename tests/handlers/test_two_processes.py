"""Report, history and tracking in a run of two processes (gloo on one machine)."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .engines_for_tests import evaluator, write_images

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys
from pathlib import Path
import torch
import torch.distributed as dist
torch.set_num_threads(1)
from medssm_monai.handlers import MLflowTracker, SegmentationReport, TrainingHistory, ValidationLoss
from tests.handlers.engines_for_tests import evaluator, trainer
folder = Path(sys.argv[1])
items = json.loads((folder / "items.json").read_text())
dist.init_process_group("gloo")
rank = dist.get_rank()
mine = items[rank::2] + ([items[0]] if rank else [])  # five images: rank 1 repeats the first, as samplers do
report = SegmentationReport(folder / "report", case_count=1)
loss = ValidationLoss(torch.nn.BCEWithLogitsLoss(), at_once=True), ValidationLoss(torch.nn.BCEWithLogitsLoss())
engine = evaluator(mine, [report], additional_metrics=dict(zip(("at_once", "by_batch"), loss)))
engine.run()
history, tracker = TrainingHistory(folder / "run"), MLflowTracker(folder / "run", "tests")
training = trainer(items[:2] if rank else items[2:4], [history, tracker], max_epochs=1)
training.run()
losses = [None, None]
dist.all_gather_object(losses, training.state.metrics["train_loss"])
from medssm_monai.handlers import ClassificationReport, PredictionsCSV, TemperatureFit
from tests.handlers import test_classification_handlers as classify
logits, labels = classify.samples(9)
shown = [*range(rank, 9, 2), *([0] if rank else [])]  # rank 1 repeats the first
classified = ClassificationReport(folder / "classes", classify.NAMES, n_resamples=20, pictures=False)
table, fit = PredictionsCSV(folder / "classes" / "table.csv", classify.NAMES), TemperatureFit()
handlers = [classified, table, fit]
classifier = classify.evaluator([classify.items(logits, labels)[number] for number in shown], handlers)
classifier.run()
(folder / f"classes{rank}.json").write_text(json.dumps({k: float(v) for k, v in classifier.state.metrics.items()}))
from tests.handlers import test_class_report as classes
found = classes.items_of(classes.EXCLUSIVE, 3, count=5)
few = found[:3] if rank == 0 else []  # the other rank has none of these
for name, shown in (("volumes", found[rank::2] + found[:rank]), ("uneven", few)):
    classes.evaluate(shown, folder / name, classes.EXCLUSIVE, metrics="surface", case_count=1)
(folder / f"rank{rank}.json").write_text(json.dumps({"dice": engine.state.metrics["test_dice"], "losses": losses,
    "val_losses": [engine.state.metrics[name] for name in ("at_once", "by_batch")]}))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    (folder / "items.json").write_text(json.dumps(write_images(folder / "data", count=5)))
    (folder / "script.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, str(folder / "script.py"), str(folder)]
    ranks = [
        subprocess.Popen(command, env={**shared, "RANK": str(r), "WORLD_SIZE": "2"}, stderr=subprocess.PIPE, text=True)
        for r in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-3000:]
    return folder


def test_all_images_are_gathered_and_a_repeated_one_counts_once(folder) -> None:
    with open(folder / "report" / "per_image.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    items = json.loads((folder / "items.json").read_text())
    assert sorted(row["image"] for row in rows) == sorted(os.path.basename(item["image"]) for item in items)
    ranks = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0]["dice"] == ranks[1]["dice"]

    from medssm_monai.handlers import SegmentationReport, ValidationLoss

    single = SegmentationReport(folder / "single", case_count=1)
    evaluator(items, [single]).run()
    repeated = evaluator(
        [*items, items[0]], additional_metrics={"val_loss": ValidationLoss(torch.nn.BCEWithLogitsLoss())}
    )
    repeated.run()  # a loss has no file names: the sampler of the bundles' validation repeats nothing
    for rank in ranks:
        assert rank["val_losses"] == pytest.approx([repeated.state.metrics["val_loss"]] * 2, rel=1e-6)
    summary = json.loads((folder / "report" / "summary.json").read_text())
    assert summary["per_image"]["dice"]["mean"] == pytest.approx(single.summary["per_image"]["dice"]["mean"])
    assert summary["pooled"]["iou"]["value"] == pytest.approx(single.summary["pooled"]["iou"]["value"])
    assert [(case["kind"], case["image"]) for case in summary["cases"]] == [
        (case["kind"], os.path.basename(case["image"])) for case in single.summary["cases"]
    ]
    assert len(list((folder / "report" / "overlays").glob("*.png"))) == 3  # of both ranks


def test_classes_of_volumes_are_gathered(folder, tmp_path) -> None:
    from .test_class_report import EXCLUSIVE, evaluate, items_of

    for name, count in (("volumes", 5), ("uneven", 3)):
        single, _ = evaluate(items_of(EXCLUSIVE, 3, count), tmp_path / name, EXCLUSIVE, metrics="surface", case_count=1)
        summary = json.loads((folder / name / "summary.json").read_text())
        assert summary["images"] == count
        for label, table in single.summary["classes"].items():
            for metric in ("dice", "hd95", "volume_difference"):
                assert summary["classes"][label][metric]["mean"] == pytest.approx(table[metric]["mean"]), metric
        assert len(list((folder / name / "overlays").glob("*.png"))) == 3


def test_the_loss_is_the_mean_over_both_and_one_process_writes(folder) -> None:
    import mlflow
    from monai.utils import path_to_sqlite_uri

    from medssm_monai.handlers import read_history

    losses = json.loads((folder / "rank0.json").read_text())["losses"]
    assert losses[0] == losses[1]
    (row,) = read_history(folder / "run" / "history.csv")
    assert row["train_loss"] == pytest.approx(losses[0])
    client = mlflow.MlflowClient(path_to_sqlite_uri(folder / "run" / "mlruns.db"))
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert run.info.status == "FINISHED" and run.data.metrics["train_loss"] == pytest.approx(losses[0])


def test_classified_images_are_gathered(folder, tmp_path) -> None:
    from medssm_monai.handlers import ClassificationReport
    from medssm_monai.metrics import fit_temperature

    from .test_classification_handlers import NAMES, items, rows_of, samples
    from .test_classification_handlers import evaluator as classifier

    logits, labels = samples(9)
    single = ClassificationReport(tmp_path, NAMES, n_resamples=20, pictures=False)
    classifier(items(logits, labels), [single]).run()
    ranks = [json.loads((folder / f"classes{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    for name, entry in single.summary["metrics"].items():
        assert ranks[0][f"test_{name}"] == pytest.approx(entry["value"]), name
    files = sorted(row["image"] for row in rows_of(tmp_path / "per_image.csv"))
    for table in ("per_image.csv", "table.csv"):
        assert sorted(row["image"] for row in rows_of(folder / "classes" / table)) == files
    repeated = [*range(9), 0]
    assert ranks[0]["temperature"] == pytest.approx(fit_temperature(logits[repeated], labels[repeated]), rel=1e-6)
