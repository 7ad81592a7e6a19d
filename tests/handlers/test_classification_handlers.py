"""Report, predictions table and temperature fit in evaluations of generated images with known logits."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.transforms import Activationsd, Compose
from scipy.special import softmax

from medssm_monai.handlers import BestModel, ClassificationReport, PredictionsCSV, TemperatureFit
from medssm_monai.metrics import classification_metrics, fit_temperature, per_class_metrics
from medssm_monai.metrics.classification import ClassificationMetric

NAMES = ["normal", "bacterial", "viral"]


class LogitsInTheImage(torch.nn.Module):
    """Reads the logits from the first pixels, times a gain: a classifier whose outputs the test knows."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0, 0, :3] * self.gain


def samples(n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``(n, 3)`` float32 and labels, some of which the logits get wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels]).astype(np.float32), labels


def items(logits: np.ndarray, labels: np.ndarray | None = None, **entries) -> list[dict]:
    images = []
    for number, row in enumerate(logits):
        image = torch.zeros(1, 4, 4)
        image[0, 0, :3] = torch.from_numpy(row)
        item = {"image": MetaTensor(image, meta={"filename_or_obj": f"data/p{number // 2}_{number:02d}.png"})}
        if labels is not None:
            item["label"] = int(labels[number])
        images.append(item | {key: values[number] for key, values in entries.items()})
    return images


def evaluator(data: list[dict], handlers, network=None, softmax_too: bool = True, **arguments) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        "cpu",
        DataLoader(Dataset(data), batch_size=4),
        network or LogitsInTheImage(),
        postprocessing=Compose([Activationsd("pred", softmax=True)]) if softmax_too else None,
        val_handlers=list(handlers),
        **arguments,
    )


def key_metric(name: str = "accuracy") -> dict:
    metric = ClassificationMetric(name)
    return {"val_score": IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", "label"]))}


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_report_holds_every_image_and_the_figures(tmp_path) -> None:
    logits, labels = samples()
    prob = softmax(logits.astype(np.float64), axis=1)
    handler = ClassificationReport(tmp_path, NAMES, data_name="demo", n_resamples=50, details={"temperature": 1.5})
    engine = evaluator(items(logits, labels), [handler])
    engine.run()

    rows = rows_of(tmp_path / "per_image.csv")
    columns = ["image", "label", "class", "confidence", "correct", *[f"probability_{name}" for name in NAMES]]
    assert list(rows[0]) == columns and len(rows) == 30
    for row, values, label in zip(rows, prob, labels, strict=True):
        chosen = int(values.argmax())
        assert (row["label"], row["class"], row["correct"]) == (NAMES[label], NAMES[chosen], str(int(chosen == label)))
        assert float(row["confidence"]) == pytest.approx(values.max(), abs=2e-6)
        assert [float(row[f"probability_{name}"]) for name in NAMES] == pytest.approx(values, abs=2e-6)

    summary = json.loads((tmp_path / "summary.json").read_text())
    expected, table = classification_metrics(prob, labels), per_class_metrics(prob, labels)
    assert summary["images"] == 30 and summary["data"] == "demo (synthetic)" and summary["undefined"] == []
    for name, value in expected.items():
        assert summary["metrics"][name]["value"] == pytest.approx(value, abs=1e-6), name
        assert engine.state.metrics[f"test_{name}"] == pytest.approx(value, abs=1e-6)
    accuracy = summary["metrics"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert summary["per_class"]["viral"]["roc_auc"]["value"] == pytest.approx(table["roc_auc"][2], abs=1e-6)
    assert np.diag(summary["confusion_matrix"]).sum() == round(expected["accuracy"] * 30)
    assert summary["versions"]["scikit-learn"] and summary["details"]["temperature"] == 1.5

    pictures = {"confusion_matrix.png", "roc_curves.png", "pr_curves.png", "reliability.png"}
    assert {path.name for path in tmp_path.iterdir()} == pictures | {
        *("per_image.csv", "report.html", "report.md", "summary.json"),
    }
    page = (tmp_path / "report.md").read_text()
    assert "demo (synthetic)" in page and "bacterial" in page and all(name in page for name in pictures)


def test_absent_class_is_explained_and_json_stays_valid(tmp_path) -> None:
    logits, labels = samples(12)
    handler = ClassificationReport(tmp_path, NAMES, n_resamples=20)
    evaluator(items(logits[labels == 0], labels[labels == 0]), [handler]).run()
    text = (tmp_path / "summary.json").read_text()
    summary = json.loads(text)
    assert "NaN" not in text and summary["metrics"]["roc_auc"]["value"] is None
    assert any("no sample of bacterial, viral" in reason for reason in summary["undefined"])
    few = "only 4 images: the figures are uncertain, and so are their intervals"
    assert summary["warnings"][:-2] == [few, *summary["undefined"]]
    for name, said in zip(("accuracy", "balanced_accuracy"), summary["warnings"][-2:], strict=True):
        assert said.startswith(f"{name}: ") and said.endswith("the floor, majority class (normal) (1.0000)")
    head, *_ = (tmp_path / "report.md").read_text().split("| metric |")
    assert "**Warning:** no sample of bacterial, viral" in head and "**Warning:** only 4 images" in head


def test_the_errors_of_highest_confidence_are_named(tmp_path) -> None:
    logits, labels = samples(60)
    prob = softmax(logits.astype(np.float64), axis=1)
    handler = ClassificationReport(tmp_path, NAMES, n_resamples=20, pictures=False, details={"weights": "own, 1a2b"})
    evaluator(items(logits, labels), [handler]).run()
    wrong = np.flatnonzero(prob.argmax(axis=1) != labels)
    expected = wrong[np.argsort(-prob[wrong].max(axis=1))][:5]
    found = handler.summary["confident_errors"]
    assert len(wrong) > 5 and [error["image"] for error in found] == [f"data/p{i // 2}_{i:02d}.png" for i in expected]
    first = expected[0]
    text = f"{NAMES[labels[first]]} taken for {NAMES[prob[first].argmax()]} ({prob[first].max():.3f})"
    page = (tmp_path / "report.md").read_text()
    assert f"{found[0]['image']}: {text}" in page and "Weights: own, 1a2b" in page
    assert handler.summary["warnings"] == [] and "Warning" not in page


@pytest.mark.parametrize("by", ["expression", "entry"])
def test_patients_are_resampled_whole(by, tmp_path) -> None:
    logits, labels = samples()
    entries = {} if by == "expression" else {"group": [f"p{number // 2}" for number in range(30)]}
    handler = ClassificationReport(
        tmp_path, NAMES, n_resamples=20, pictures=False, group=r"(p\d+)_" if by == "expression" else None
    )
    evaluator(items(logits, labels, **entries), [handler]).run()
    assert handler.summary["groups"] == 15 and handler.summary["bootstrap"]["unit"] == "group"


def test_only_the_best_validation_is_written_and_the_metrics_always_handed_on(tmp_path) -> None:
    logits, labels = samples()
    net = LogitsInTheImage()
    handler = ClassificationReport(tmp_path, NAMES, only_best=True, n_resamples=5, pictures=False, name="val")
    engine = evaluator(items(logits, labels), [handler], net, key_val_metric=key_metric())
    seen = []
    for epoch, gain in enumerate((-1.0, 1.0, -1.0), start=1):
        torch.nn.init.constant_(net.gain, gain)
        engine.run(epoch)
        assert engine.state.metrics["val_accuracy"] == pytest.approx(engine.state.metrics["val_score"])
        seen.append(engine.state.metrics["val_accuracy"])
    assert seen[0] < seen[1] > seen[2]
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["metrics"]["accuracy"]["value"] == pytest.approx(seen[1])


def test_mlflow_gets_metrics_and_files(tmp_path, monkeypatch) -> None:
    import mlflow
    from monai.utils import path_to_sqlite_uri

    from medssm_monai.handlers import MLflowTracker

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logits, labels = samples()
    report = ClassificationReport(tmp_path / "test", NAMES, n_resamples=5)
    tracker = MLflowTracker(tmp_path, "tests", data_name="demo", artifacts=[tmp_path / "test"])
    evaluator(items(logits, labels), [report, tracker]).run()
    client = mlflow.MlflowClient(path_to_sqlite_uri(tmp_path / "mlruns.db"))
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert run.data.tags["data"] == "demo"
    assert run.data.metrics["test_f1_macro"] == pytest.approx(report.summary["metrics"]["f1_macro"]["value"])
    assert "test/roc_curves.png" in [entry.path for entry in client.list_artifacts(run.info.run_id, "test")]


@pytest.mark.parametrize(
    ("names", "labels", "softmax_too", "message"),
    [
        (NAMES[:2], [0, 1, 2], True, r"p0_00\.png.*2 are named"),
        (NAMES, [0, 3, 2], True, r"p0_01\.png.*0 to 2"),
        (NAMES, [0, 1, 2], False, r"p0_00\.png.*softmax"),
    ],
)
def test_bad_items_are_refused_with_the_file(names, labels, softmax_too, message, tmp_path) -> None:
    data = items(np.array([[3.0, -2, 1]] * 3, np.float32), np.array(labels))
    with pytest.raises(ValueError, match=message):
        evaluator(data, [ClassificationReport(tmp_path, names)], softmax_too=softmax_too).run()
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("handler", [ClassificationReport, PredictionsCSV])
def test_nan_is_refused_with_the_file_and_the_old_files_stay(handler, tmp_path) -> None:
    logits, labels = samples(6)
    target = tmp_path if handler is ClassificationReport else tmp_path / "per_image.csv"
    evaluator(items(logits, labels), [handler(target, NAMES)]).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"p0_00\.png.*not finite"):
        evaluator(items(logits, labels), [handler(target, NAMES)], LogitsInTheImage(float("nan"))).run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("names", [["only"], ["a", "a"]])
def test_bad_class_names(names, tmp_path) -> None:
    with pytest.raises(ValueError, match="class_names"):
        ClassificationReport(tmp_path, names)


def test_undecollated_items_are_refused(tmp_path) -> None:
    logits, labels = samples(4)
    for handler in (ClassificationReport(tmp_path), PredictionsCSV(tmp_path / "p.csv")):
        engine = evaluator(items(logits, labels), [handler], softmax_too=False, decollate=False)
        with pytest.raises(ValueError, match="decollate=True"):
            engine.run()


def test_predictions_of_unlabeled_images(tmp_path) -> None:
    logits, _ = samples(5)
    prob = softmax(logits.astype(np.float64), axis=1)
    path = tmp_path / "new" / "predictions.csv"
    for _ in range(2):
        evaluator(items(logits), [PredictionsCSV(path, NAMES)]).run()
    rows = rows_of(path)
    assert list(rows[0]) == ["image", "class", "confidence", *[f"probability_{name}" for name in NAMES]]
    assert [row["image"] for row in rows] == [f"data/p{number // 2}_{number:02d}.png" for number in range(5)]
    assert [row["class"] for row in rows] == [NAMES[number] for number in prob.argmax(axis=1)]
    assert [float(row["confidence"]) for row in rows] == pytest.approx(prob.max(axis=1), abs=2e-6)
    kept = [name for name in os.listdir(path.parent) if name != "predictions.csv"]
    assert len(kept) == 1 and kept[0].startswith("predictions_") and rows_of(path.parent / kept[0]) == rows


def test_predictions_for_other_classes_leave_the_old_table(tmp_path) -> None:
    logits, _ = samples(5)
    (tmp_path / "p.csv").write_text("old")
    with pytest.raises(ValueError, match="2 are named"):
        evaluator(items(logits), [PredictionsCSV(tmp_path / "p.csv", NAMES[:2])]).run()
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"] and (tmp_path / "p.csv").read_text() == "old"


def test_temperature_of_the_best_validation_is_stored_with_its_weights(tmp_path) -> None:
    logits, labels = samples()
    net = LogitsInTheImage()
    best = BestModel(tmp_path, net, {"variant": "t", "temperature": 1.0}, data_name="t", fitted=["temperature"])
    engine = evaluator(items(logits, labels), [TemperatureFit(), best], net, key_val_metric=key_metric())
    for epoch, gain in enumerate((-1.0, 4.0, -3.0), start=1):  # the second is the best
        torch.nn.init.constant_(net.gain, gain)
        engine.run(epoch)
        if epoch == 2:
            metrics = dict(engine.state.metrics)
    expected = fit_temperature(4.0 * logits, labels)
    assert expected > 1.5  # the gain of 4 makes the network too sure of itself
    assert metrics["temperature"] == pytest.approx(expected, rel=1e-5)
    assert metrics["nll_calibrated"] < metrics["nll"]
    stored = json.loads((tmp_path / "model.json").read_text())
    assert (stored["variant"], stored["temperature"]) == ("t", pytest.approx(expected, rel=1e-5))
    assert torch.load(tmp_path / "model.pt", weights_only=True) == {"gain": torch.tensor(4.0)}


def test_without_a_key_metric_every_validation_counts_as_the_best(tmp_path) -> None:
    logits, labels = samples()
    report = ClassificationReport(tmp_path, NAMES, only_best=True, n_resamples=5, pictures=False)
    net = LogitsInTheImage()
    best = BestModel(tmp_path, net, {"temperature": 1.0}, fitted=["temperature"])
    evaluator(items(3 * logits, labels), [report, TemperatureFit(), best], net).run(4)
    assert (tmp_path / "summary.json").is_file()
    assert json.loads((tmp_path / "model.json").read_text())["temperature"] > 1.1


def test_temperature_needs_labels() -> None:
    logits, _ = samples(4)
    with pytest.raises(ValueError, match="needs labels"):
        evaluator(items(logits), [TemperatureFit()]).run()
