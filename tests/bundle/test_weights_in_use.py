"""One line says which weights run, for what."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from monai.fl.client import BaseClient

from medssm_monai.bundle import describe_weights, other_weights, require_same_classes
from medssm_monai.bundle.weights import describe_weights_file
from medssm_monai.utils import file_sha256

DIGEST = hashlib.sha256(b"weights").hexdigest()


def weights(folder, name="model", card=False, **settings):
    (folder / f"{name}.pt").write_bytes(b"weights")
    if settings:
        (folder / f"{name}.json").write_text(json.dumps(settings))
    if card:
        (folder / f"{name}.md").write_text(f"SHA-256 `{DIGEST}`")
    return folder / f"{name}.pt"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            {"trained_on": "isic", "spatial_dims": 2, "in_channels": 3, "image_size": [64, 96]},
            "(your own training, trained on isic; 2D; 3 channels; images of 64 x 96; SHA-256 ",
        ),
        (
            {"name": "model_20260102-030405_2", "class_names": ["a", "b"], "spatial_dims": 3, "in_channels": 1},
            "(your own training, training data not recorded; 2 classes: a, b; 3D; 1 channel; SHA-256 ",
        ),
        (
            {"name": "shipped", "card": True, "trained_on": "PneumoniaMNIST"},
            "(come with the bundle, trained on PneumoniaMNIST; SHA-256 ",
        ),
        ({"name": "dp", "sources": ["MRI", "CT"]}, "(training data not recorded; sources: MRI, CT; SHA-256 "),
        (
            {"name": "x", "class_names": [str(n) for n in range(9)]},
            "(training data not recorded; 9 classes: 0, 1, 2, 3, 4, 5 and 3 more; SHA-256 ",
        ),
    ],
)
def test_a_line_names_file_origin_and_task(tmp_path, made, said):
    path = weights(tmp_path, **made)
    assert describe_weights(path) == f"{tmp_path.name}/{path.name} {said}{DIGEST[:12]})"
    assert describe_weights(path, "here").startswith("here (")


def test_missing_weights_and_spoilt_settings_do_not_stop_the_line(tmp_path):
    assert describe_weights(tmp_path / "model.pt") == f"{tmp_path.name}/model.pt (missing)"
    path = weights(tmp_path)
    path.with_suffix(".json").write_text("{")
    assert "training data not recorded" in describe_weights(path)


def test_weights_put_in_the_place_of_shipped_ones_are_not_taken_for_them(tmp_path):
    path = weights(tmp_path, card=True, trained_on="isic")
    assert "(come with the bundle, " in describe_weights(path)
    path.write_bytes(b"others")
    assert "(your own training, trained on isic; " in describe_weights(path)


def test_the_hash_follows_the_file(tmp_path):
    path = weights(tmp_path)
    assert file_sha256(path) == DIGEST
    (tmp_path / "other").write_bytes(b"changed")
    os.replace(tmp_path / "other", path)
    assert file_sha256(path) == hashlib.sha256(b"changed").hexdigest()


def test_classes_that_do_not_fit_name_the_weights_and_the_others(tmp_path):
    path = weights(tmp_path, trained_on="demo", class_names=["a", "b"])
    weights(tmp_path, "shipped", card=True, trained_on="PneumoniaMNIST")
    assert other_weights(path) == ["shipped.pt (come with the bundle, trained on PneumoniaMNIST)"]
    with pytest.raises(ValueError) as raised:
        require_same_classes(["x"], ["a", "b"], path)
    message = str(raised.value)
    assert "your own training, trained on demo" in message
    assert "Others there: shipped.pt (come with the bundle" in message and "--ckpt_path FILE" in message


def test_what_a_federation_evaluates_is_not_said_to_be_a_file(tmp_path):
    path = tmp_path / "model.pt"

    class Client(BaseClient):
        def report(self):
            return describe_weights(path, "model.pt"), describe_weights_file(path, "model.pt")

    assert Client().report() == ("sent by the federation's server", "model.pt (missing)")
    assert describe_weights(path, "model.pt") == "model.pt (missing)"
