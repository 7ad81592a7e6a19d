"""Bad input to the classification bundles: one clear error that names the files and the remedy, and nothing lost."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.data import DatalistError

from .bundle_runs import CLASSIFIERS, MEDSPECTRALNET, failing

TRAIN = ("train.yaml",)


@pytest.fixture(params=CLASSIFIERS, ids=str)
def bundle(request):
    return request.param


@pytest.fixture
def dataset(tmp_path, write_image):
    """Two class folders of ten pictures."""
    for number in range(20):
        write_image(tmp_path / "data" / f"class {number % 2}" / f"case {number}.png", 48, 40, seed=number)
    return tmp_path / "data"


def _settings(bundle, dataset, **more):
    return {**{k: v for k, v in bundle.tiny.items() if "demo" not in k}, "dataset_dir": str(dataset), **more}


def _empty(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda d: _empty(d / "class 1"), "class 1"),
        (lambda d: shutil.rmtree(d / "class 1"), "one class only"),
        (lambda d: (d / "class 0" / "case 4.png").write_bytes(b"\x89PNG"), "case 4.png"),
        (lambda d: shutil.rmtree(d) or d.mkdir(), "no known layout"),
    ],
    ids=["empty class", "one class", "unreadable image", "empty folder"],
)
def test_spoilt_dataset_gives_one_error_before_anything_is_written(bundle, dataset, tmp_path, spoil, named):
    spoil(dataset)
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.pt").write_bytes(b"an earlier model")
    with failing(DatalistError, named):
        bundle.run(TRAIN, tmp_path, **_settings(bundle, dataset))
    assert [path.read_bytes() for path in models.glob("model*.pt")] == [b"an earlier model"]


def _arrays(**changes):
    images = np.zeros((8, 28, 28), np.uint8)
    labels = np.arange(8)[:, None] % 2
    arrays = {
        f"{part}_{kind}": value
        for part in ("train", "val", "test")
        for kind, value in (("images", images), ("labels", labels))
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"val_labels": None}, "val_labels"),
        ({"train_labels": np.array([None] * 8, dtype=object)}, "pickled objects"),
        ({"train_labels": np.arange(8) - 1}, "outside the range"),
    ],
    ids=["missing keys", "pickled objects", "label out of range"],
)
def test_spoilt_arrays_are_refused(bundle, tmp_path, changes, named):
    np.savez(tmp_path / "toy.npz", **_arrays(**changes))
    with failing(DatalistError, named):
        bundle.run(TRAIN, tmp_path, **_settings(bundle, tmp_path / "toy.npz", in_channels=1))


def test_mixed_pixel_formats_train(bundle, dataset, tmp_path):
    folder = dataset / "class 0"
    for name, mode in (("case 0", "L"), ("case 2", "RGBA"), ("case 4", "P")):
        Image.open(folder / f"{name}.png").convert(mode).save(folder / f"{name}.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16)).save(folder / "case 6.png")
    bundle.run(TRAIN, tmp_path, **_settings(bundle, dataset))
    assert (tmp_path / "models" / "model.pt").is_file()


def test_csv_row_without_a_file_is_named(bundle, tmp_path, train_tiny):
    (tmp_path / "list.csv").write_text("image\nnowhere.png\n")
    ckpt = str(train_tiny(bundle) / "models" / "model.pt")
    with failing(DatalistError, "nowhere.png"):
        bundle.run(("inference.yaml",), tmp_path, "infer", dataset_dir=str(tmp_path / "list.csv"), ckpt_path=ckpt)


@pytest.fixture
def models(bundle, tmp_path, train_tiny):
    """A copy of the trained tiny model."""
    return shutil.copytree(train_tiny(bundle) / "models", tmp_path / "copied")


def _forget_hash(settings):
    kept = {key: value for key, value in json.loads(settings.read_text()).items() if key != "weights_sha256"}
    settings.write_text(json.dumps(kept))


@pytest.mark.parametrize("names", [("inference.yaml",), ("train.yaml", "evaluate.yaml")], ids="+".join)
def test_checkpoint_for_other_classes_is_a_clear_error(bundle, names, tmp_path, models, write_image):
    state = torch.load(models / "model.pt", weights_only=True)
    for name in [key for key in state if key.startswith("head.")]:
        state[name] = state[name][:3].clone()
    torch.save(state, models / "model.pt")
    _forget_hash(models / "model.json")
    settings = {"ckpt_path": str(models / "model.pt"), "device": "cpu"}
    if names[0] == "inference.yaml":
        settings["dataset_dir"] = str(write_image(tmp_path / "in" / "a.png", 40, 30))
    else:
        settings["datalists#demo_counts"] = bundle.tiny["datalists#demo_counts"]
    with failing(ValueError, "model.pt: its weights are for 3 classes, but 4 classes are named"):
        bundle.run(names, tmp_path, "infer" if names[0] == "inference.yaml" else "train", **settings)


def test_evaluation_on_other_classes_names_both(bundle, dataset, tmp_path, models):
    settings = {"dataset_dir": str(dataset), "ckpt_path": str(models / "model.pt"), "device": "cpu"}
    with failing(ValueError, r"\['class 0', 'class 1'\].*trained for \['lobed', 'mottled', 'ring', 'smooth'\]"):
        bundle.run(("train.yaml", "evaluate.yaml"), tmp_path, "train", **settings)


def test_settings_of_another_program_are_refused(bundle, tmp_path, models, write_image):
    (models / "model.json").write_text(json.dumps({"threshold": 0.5}))
    image = str(write_image(tmp_path / "in" / "a.png", 40, 30))
    with failing(ValueError, "model.json must be an object with keys among.*class_names"):
        bundle.run(("inference.yaml",), tmp_path, "infer", dataset_dir=image, ckpt_path=str(models / "model.pt"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"select_by": "auc"}, "roc_auc.*got 'auc'"),
        ({"class_weights": [1.0, 2.0]}, "4 positive numbers"),
        ({"image_size": [28, 28], "in_channels": 2}, "channels"),
    ],
    ids=["metric", "weights", "channels"],
)
def test_wrong_settings_name_the_right_ones(bundle, tmp_path, overrides, message):
    with failing(ValueError, message):
        bundle.run(TRAIN, tmp_path, **{**bundle.tiny, **overrides})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer_name": "sdg"}, "'sdg'.*sgd"),
        ({"pretrained_path": "nowhere.pth"}, "nowhere.pth"),
        ({"batch_size": 1, "image_size": [64, 64]}, "batch of one sample"),
        ({"cutmix": 2}, "prob"),
    ],
    ids=["optimizer", "weights", "batch of one", "cutmix"],
)
def test_wrong_settings_of_medspectralnet_are_named(tmp_path, overrides, message):
    kind = FileNotFoundError if "pretrained_path" in overrides else ValueError
    with failing(kind, message):
        MEDSPECTRALNET.run(TRAIN, tmp_path, **{**MEDSPECTRALNET.tiny, **overrides})


def test_strict_data_refuses_an_unofficial_file(tmp_path):
    np.savez(tmp_path / "breastmnist.npz", **_arrays())
    settings = _settings(MEDSPECTRALNET, tmp_path, subset="breast", strict_data=True)
    with failing(DatalistError, "breastmnist.npz: MD5.*official|not the official file.*breastmnist.npz"):
        MEDSPECTRALNET.run(TRAIN, tmp_path / "out", **settings)
