"""Evaluation and inference of the classification bundles on a tiny network, and what they leave behind."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from .bundle_runs import CLASSIFIERS, MEDCONVMAMBA, MEDSPECTRALNET, program

EVALUATE = ("train.yaml", "evaluate.yaml")
CLASSES = ["lobed", "mottled", "ring", "smooth"]


@pytest.fixture(scope="module", params=CLASSIFIERS, ids=str)
def trained(request, train_tiny):
    """A bundle, and the folder of its finished tiny training of two epochs on the demo set."""
    return request.param, train_tiny(request.param)


def _rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def _probabilities(rows):
    return np.array([[float(row[f"probability_{name}"]) for name in CLASSES] for row in rows])


def test_training_stores_classes_and_temperature_beside_the_weights(trained):
    _, out = trained
    settings = json.loads((out / "models" / "model.json").read_text())
    assert settings["class_names"] == CLASSES
    assert settings["temperature"] > 0
    history = _rows(out / "first" / "history.csv")
    best = max(history, key=lambda row: float(row["val_roc_auc"]))
    assert settings["temperature"] == pytest.approx(float(best["temperature"]), rel=1e-4)


@pytest.mark.parametrize(
    ("part", "further"),
    [("test", {"pixel_floor": True}), ("validation", {"corruption": {"kind": "jpeg", "strength": 9}})],
)
def test_evaluation_reports_on_a_part(trained, tmp_path, part, further):
    bundle, out = trained
    settings = {key: bundle.tiny[key] for key in ("datalists#demo_counts", "device")}
    ckpt = str(out / "models" / "model.pt")
    flow = bundle.run(EVALUATE, tmp_path, "train", **settings, **further, part=part, ckpt_path=ckpt, run_name="done")
    summary = json.loads((tmp_path / "done" / "summary.json").read_text())
    assert "demo (synthetic)" in json.dumps(summary)
    rows = _rows(tmp_path / "done" / "per_image.csv")
    assert len(rows) == summary["images"] == 4
    assert all(f"demo_{part}_" in row["image"] for row in rows)
    right = np.mean([row["class"] == row["label"] for row in rows])
    assert flow.evaluator.state.metrics[f"{part}_accuracy"] == pytest.approx(right, abs=1e-6)
    majority, *pixels = summary["floors"]
    assert majority.startswith("majority class (") and summary["floors"][majority]["accuracy"]["value"] == 0.25
    assert pixels == (["logistic regression on 28 x 28 pixels"] if "pixel_floor" in further else [])
    assert any(warning.startswith("only 4 images") for warning in summary["warnings"])
    assert f"| {majority} |" in (tmp_path / "done" / "report.md").read_text().split("## Sanity")[1]
    assert ("jpeg" in json.dumps(summary["details"]["corruption"])) == ("corruption" in further)
    for picture in ("confusion_matrix", "roc_curves", "pr_curves", "reliability"):
        assert (tmp_path / "done" / f"{picture}.png").stat().st_size > 1000
    client, (logged,) = bundle.mlflow_runs(tmp_path)
    assert f"{part}_accuracy" in logged.data.metrics
    assert {"done/report.md", "done/reliability.png"} <= {
        a.path for a in client.list_artifacts(logged.info.run_id, "done")
    }


@pytest.fixture
def pictures(tmp_path, write_image):
    """Gray, color and transparent pictures of different sizes."""
    for name, width, height, mode in (("a b", 40, 30, "L"), ("c", 64, 64, "RGB"), ("d", 33, 70, "RGBA")):
        write_image(tmp_path / "in" / f"{name}.png", width, height, mode, seed=width)
    return tmp_path / "in"


@pytest.mark.parametrize("source", ["folder", "file", "csv"])
def test_inference_writes_one_row_per_image(trained, tmp_path, pictures, source):
    bundle, out = trained
    wanted = ["a b.png", "c.png", "d.png"]
    if source == "file":
        wanted = ["c.png"]
    elif source == "csv":
        wanted = ["d.png", "a b.png"]
        (tmp_path / "list.csv").write_text("image,age\nin/d.png,50\nin/a b.png,60\n")
    place = {"folder": pictures, "file": pictures / "c.png", "csv": tmp_path / "list.csv"}[source]
    ckpt = str(out / "models" / "model.pt")
    bundle.run(("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(place), ckpt_path=ckpt)
    rows = _rows(tmp_path / "out" / "predictions.csv")
    assert [row["image"].replace("\\", "/").rsplit("/", 1)[-1] for row in rows] == wanted
    probabilities = _probabilities(rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [row["class"] for row in rows] == [CLASSES[i] for i in probabilities.argmax(axis=1)]
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], probabilities.max(axis=1))


def test_inference_divides_the_logits_by_the_stored_temperature(trained, tmp_path, pictures):
    bundle, out = trained
    models = tmp_path / "models"
    shutil.copytree(out / "models", models)
    settings = json.loads((models / "model.json").read_text())
    probabilities = {}
    for temperature in (1.0, 4.0):
        (models / "model.json").write_text(json.dumps({**settings, "temperature": temperature}))
        folder = tmp_path / f"t{temperature}"
        ckpt = str(models / "model.pt")
        bundle.run(("inference.yaml",), folder, "infer", dataset_dir=str(pictures), ckpt_path=ckpt)
        probabilities[temperature] = _probabilities(_rows(folder / "predictions.csv"))
    cooled = probabilities[1.0] ** (1 / 4.0)
    np.testing.assert_allclose(probabilities[4.0], cooled / cooled.sum(axis=1, keepdims=True), atol=2e-6)


def test_inference_keeps_the_earlier_table_and_runs_as_documented(trained, tmp_path, pictures):
    bundle, out = trained
    words = ["-m", "monai.bundle", "run", "--config_file", *bundle.config("inference.yaml"), "--dataset_dir"]
    words += [str(pictures), "--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    for _ in range(2):
        done = program([*words, "--ckpt_path", str(out / "models" / "model.pt")], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "out").glob("predictions*.csv"))) == 2


def test_evaluation_explains_the_first_images_of_each_class(trained, tmp_path):
    bundle, out = trained
    settings = {key: bundle.tiny[key] for key in ("datalists#demo_counts", "device")}
    ckpt = str(out / "models" / "model.pt")
    names = (*EVALUATE, "explain.yaml")
    bundle.run(names, tmp_path, "train", **settings, explain_images=1, ckpt_path=ckpt, run_name="done")
    layers = {"medconvmamba": ["blocks.0"], "medspectralnet": ["context_gate", "spectral_flow2"]}[bundle.name]
    folder = tmp_path / "done" / "explanations"
    rows = _rows(folder / "explanations.csv")
    assert [row["layer"] for row in rows] == [layer for layer in layers for _ in CLASSES]
    predicted = {row["image"]: row["class"] for row in _rows(tmp_path / "done" / "per_image.csv")}
    assert all(predicted[row["image"]] == row["class"] for row in rows)
    shown = [*layers, *(["scan blocks.0.mixer"] if bundle is MEDCONVMAMBA else [])]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(shown)
    for name in shown:
        assert len(list((folder / name).glob("sheet_class_*.png"))) == len(CLASSES)
    client, (logged,) = bundle.mlflow_runs(tmp_path)
    assert "done/explanations" in {a.path for a in client.list_artifacts(logged.info.run_id, "done")}


@pytest.mark.parametrize(
    ("bundle", "images", "settings"),
    [
        (MEDCONVMAMBA, (24, 28, 28), {"image_size": [28, 28], "patch_size": 4, "class_weights": "balanced"}),
        (MEDCONVMAMBA, (24, 16, 16, 16), {"image_size": [16, 16, 16], "spatial_dims": 3, "patch_size": 8}),
        (
            MEDSPECTRALNET,
            (25, 28, 28),  # 25 = 6 * 4 + 1: a last batch of one image, which SpectralFlow could not train on
            {
                "class_weights": "balanced",
                "optimizer_name": "rmsprop",
                **dict.fromkeys(("cutmix", "affine", "perspective", "color", "blur", "erase"), 0.5),
            },
        ),
        (
            MEDSPECTRALNET,
            (8, 16, 16, 16),
            {"image_size": [16, 16, 16], "spatial_dims": 3, "optimizer_name": "sgd", "perspective": 1.0, "blur": 1.0},
        ),
    ],
    ids=["medconvmamba-2D", "medconvmamba-3D", "medspectralnet-2D", "medspectralnet-3D"],
)
def test_arrays_train_evaluate_and_need_no_files(tmp_path, bundle, images, settings):
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", images[0]), ("val", 6), ("test", 6)):
        labels = np.arange(count) % 2
        arrays[f"{part}_labels"] = labels if part == "val" else labels[:, None]  # MedMNIST's and its copies' shapes
        arrays[f"{part}_images"] = generator.integers(0, 256, (count, *images[1:]), dtype=np.uint8)
    np.savez(tmp_path / "toy.npz", **arrays)
    small = {key: value for key, value in bundle.tiny.items() if "demo" not in key}
    settings = {**small, "in_channels": 1, **settings, "dataset_dir": str(tmp_path / "toy.npz")}
    bundle.run(("train.yaml",), tmp_path / "out", **settings)
    ckpt = str(tmp_path / "out" / "models" / "model.pt")
    test = {"dataset_dir": settings["dataset_dir"], "device": "cpu", "ckpt_path": ckpt, "run_name": "test"}
    bundle.run(EVALUATE, tmp_path / "out", "train", **test)
    assert json.loads((tmp_path / "out" / "test" / "summary.json").read_text())["images"] == 6


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("bundle", "overlay", "folder", "parts"),
    [
        (MEDCONVMAMBA, "pneumoniamnist.yaml", "medmnist", (4708, 524, 624)),
        (MEDCONVMAMBA, "breastmnist.yaml", "medmnist", (546, 78, 156)),
        (MEDCONVMAMBA, "covid_xray.yaml", "covid_xray", (280, 40, 80)),
        (MEDSPECTRALNET, "pneumoniamnist.yaml", "medmnist", (4708, 524, 624)),
        (MEDSPECTRALNET, "breastmnist.yaml", "medmnist", (546, 78, 156)),
        (MEDSPECTRALNET, "brain_tumor_mri.yaml", "brain_tumor_mri", (760, 163, 400)),
    ],
    ids=str,
)
def test_overlays_of_the_real_runs_find_their_data(real_data, tmp_path, bundle, overlay, folder, parts):
    small = {"network_args": bundle.tiny["network_args"], "cache_rate": 0.0, "datalists#check": False}
    names = ("train.yaml", overlay)
    flow = bundle.workflow(names, tmp_path, **small, device="cpu", dataset_dir=str(real_data / folder))
    datalists = flow.parser.get_parsed_content("datalists")
    assert tuple(len(datalists[part]) for part in ("training", "validation", "test")) == parts
    batch = next(iter(flow.parser.get_parsed_content("train#dataloader")))
    assert list(batch["image"].shape[1:]) == [1, *flow.parser.get_parsed_content("image_size")]
    assert -2.5 < float(batch["image"].min()) < float(batch["image"].max()) < 2.5
    logits = flow.network_def(batch["image"])
    assert logits.shape == (len(batch["label"]), len(datalists.class_names))
