"""Registered models predict what the bundle predicts, hold nothing of this computer, and are checked when loaded."""

from __future__ import annotations

import json
import pickletools
import shutil
import zipfile

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

import medssm_monai
from medssm_monai.apps.registry.pyfunc_model import SERVED_FILES, SERVING, RegisteredModel, record

from .conftest import TINY

BUNDLES = sorted(TINY)


def pictures(name, count=2, seed=0):
    """uint8 arrays ``(N, H, W[, 3])``, one per source."""
    rng = np.random.default_rng(seed)
    shape = (count, 40, 30, 3) if name == "mamba_mis" else (count, 40, 30)
    keys = ["image_a", "image_b"] if name == "clinical_fmamba" else ["image"]
    return {key: rng.integers(0, 256, shape, dtype=np.uint8) for key in keys}


def expected(root, columns):
    """What the bundle's own predictor says, image by image."""
    predictor = medssm_monai.load(root, device="cpu")
    rows = zip(*columns.values(), strict=True)
    return [record(predictor.predict(row if len(row) > 1 else row[0])) for row in rows]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.fixture(scope="module")
def loaded(registered):
    return {
        name: mlflow.pyfunc.load_model(registered.artifacts(f"{name}_model").as_uri(), suppress_warnings=True)
        for name in BUNDLES
    }


@pytest.mark.parametrize("name", BUNDLES)
def test_predictions_are_those_of_the_bundle(registered, loaded, name, tmp_path):
    columns = pictures(name)
    wanted = expected(registered.bundle(name), columns)
    assert_same(loaded[name].predict(columns), wanted)
    if len(columns) == 1:
        assert_same(loaded[name].predict(columns["image"]), wanted)
    files = {key: [tmp_path / f"{key}{number}.png" for number in range(2)] for key in columns}
    for key, arrays in columns.items():
        for file, array in zip(files[key], arrays, strict=True):
            Image.fromarray(array).save(file)
    table = pd.DataFrame({key: [str(file) for file in column] for key, column in files.items()})
    assert_same(loaded[name].predict(table), expected(registered.bundle(name), files))


def test_floats_and_16_bits_are_taken_as_the_bundle_takes_them(registered, loaded):
    image = pictures("medconvmamba")["image"]
    for array in (image / 255.0, image.astype(np.uint16) * 257):
        assert_same(
            loaded["medconvmamba"].predict(array), expected(registered.bundle("medconvmamba"), {"image": array})
        )


def test_what_is_kept_names_no_place_of_this_computer_and_is_described(registered):
    for name in BUNDLES:
        folder = registered.artifacts(f"{name}_model")
        for file in folder.rglob("*"):
            if file.is_file():
                assert str(registered.folder).encode() not in file.read_bytes(), file
                assert file.suffix not in (".pkl", ".pickle", ".joblib"), file
        model = mlflow.models.Model.load(str(folder))
        assert model.flavors["python_function"]["loader_module"] == "medssm_monai.apps.registry.pyfunc_model"
        facts = model.metadata
        assert facts["bundle"] == name and facts["weights_sha256"]
        assert [spec["name"] for spec in model.signature.inputs.to_dict()] == facts["inputs"]
        needed = (folder / "requirements.txt").read_text().split()
        assert f"torch=={torch.__version__.split('+')[0]}" in needed
        assert f"medssm-monai=={medssm_monai.__version__}" in needed and not any("/" in word for word in needed)
        tags = registered.registry.version(f"{name}_model", 1).tags
        assert tags["weights_sha256"] == facts["weights_sha256"] and tags["bundle"] == name


def test_weights_of_a_registered_model_hold_tensors_alone(registered):
    with zipfile.ZipFile(registered.artifacts("mamba_mis_model") / "data/mamba_mis/models/model.pt") as archive:
        data = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        used = {arg for op, arg, _ in pickletools.genops(archive.read(data)) if op.name == "GLOBAL"}
    assert used <= {
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch LongStorage",
        "collections OrderedDict",
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("models/model.pt", "models/model.pt"),
        ("configs/inference.yaml", "configs/inference.yaml"),
        ("models/model.json", "models/model.json"),
        (None, "configs/added.yaml"),
        ("all", "not the weights that MLmodel names"),
    ],
)
def test_a_changed_model_is_not_loaded(registered, tmp_path, change, named):
    folder = tmp_path / "model"
    shutil.copytree(registered.artifacts("mamba_mis_model"), folder)
    root = folder / "data" / "mamba_mis"
    if change is None:
        (root / "configs" / "added.yaml").write_text("a: 1")
    elif change == "all":  # weights and their sum
        torch.save(TINY["mamba_mis"].network(5).state_dict(), root / "models" / "model.pt")
        from medssm_monai.utils import file_sha256

        sums = root / "checksums.sha256"
        lines = [line for line in sums.read_text().splitlines() if not line.endswith("model.pt")]
        sums.write_text("\n".join([*lines, f"{file_sha256(root / 'models/model.pt')}  models/model.pt"]) + "\n")
    else:
        with (root / change).open("ab") as file:
            file.write(b" ")
    with pytest.raises(ValueError, match="changed after it was registered") as error:
        mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    assert named in str(error.value)


@pytest.fixture(scope="module")
def classifier(registered):
    return RegisteredModel(registered.artifacts("medconvmamba_model") / "data" / "medconvmamba")


def test_numbers_of_a_request_are_the_pixels_that_they_stand_for(registered, classifier):
    image = pictures("medconvmamba", 1)["image"][0]
    root = registered.bundle("medconvmamba")
    as_sent = np.array(json.loads(json.dumps([image.tolist()])), dtype=object)  # as MLflow hands it over
    assert_same(classifier.predict({"image": as_sent}), expected(root, {"image": [image]}))
    wide = image.astype(np.uint16) * 100
    sent = [wide.tolist()]
    assert_same(classifier.predict({"image": sent}, {"pixels": "uint16"}), expected(root, {"image": [wide]}))
    with pytest.raises(ValueError, match="no uint8; give the parameter pixels"):
        classifier.predict({"image": sent})
    shares = (image / 255).astype(np.float32)
    assert_same(classifier.predict({"image": [shares.tolist()]}), expected(root, {"image": [shares]}))


@pytest.mark.parametrize(
    ("given", "params", "said"),
    [
        ({"picture": np.zeros((1, 8, 8), np.uint8)}, None, "image not given; there is picture"),
        ({"image": [[[0, 1], [2]]]}, None, "inhomogeneous"),
        ({"image": np.zeros((1, 32, 32), np.uint8)}, {"pixels": "int3"}, "pixels must be one of"),
        ({"image": [[["a", "b"]]]}, None, "an array of numbers"),
    ],
)
def test_bad_input_is_said(classifier, given, params, said):
    with pytest.raises(ValueError, match=said):
        classifier.predict(given, params)


def test_unequal_numbers_of_sources_are_refused(registered):
    model = RegisteredModel(registered.artifacts("clinical_fmamba_model") / "data" / "clinical_fmamba")
    with pytest.raises(ValueError, match="'image_a': 1, 'image_b': 2"):
        model.predict({"image_a": np.zeros((1, 32, 32), np.uint8), "image_b": np.zeros((2, 32, 32), np.uint8)})
    with pytest.raises(ValueError, match="by name"):
        model.predict(np.zeros((1, 32, 32), np.uint8))


def test_a_server_reads_files_of_its_folder_alone(classifier, tmp_path, monkeypatch):
    free = tmp_path / "free"
    free.mkdir()
    for file in (free / "a.png", tmp_path / "secret.png"):
        Image.fromarray(pictures("medconvmamba")["image"][0]).save(file)
    table = pd.DataFrame({"image": ["a.png"]})
    monkeypatch.setenv(SERVING, "true")
    with pytest.raises(PermissionError, match="reads no files"):
        classifier.predict(table)
    monkeypatch.setenv(SERVED_FILES, str(free))
    assert classifier.predict(table)[0]["class_name"] in TINY["medconvmamba"].settings["class_names"]
    (free / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        with pytest.raises(PermissionError, match="alone"):
            classifier.predict(pd.DataFrame({"image": [name]}))


def test_a_missing_source_is_refused_by_the_signature(loaded):
    with pytest.raises(MlflowException, match="missing inputs"):
        loaded["clinical_fmamba"].predict({"image_a": np.zeros((1, 32, 32), np.uint8)})
