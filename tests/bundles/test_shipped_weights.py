"""The weights that come with a bundle load strictly, belong to the settings beside them and do what the card says."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch

import medssm_monai
from medssm_monai.data import classification_datalists
from medssm_monai.metrics import classification_metrics
from medssm_monai.transforms import LoadImage2Dd
from medssm_monai.utils import read_model_settings

from .bundle_runs import BUNDLES, REPOSITORY

SHIPPED = [("medconvmamba", "pneumoniamnist", "pneumonia", 0.88)]  # bundle, file, MedMNIST subset, least test accuracy


def _network(folder: Path, name: str) -> tuple[torch.nn.Module, dict]:
    weights = folder / "models" / f"{name}.pt"
    keys = ("variant", "spatial_dims", "in_channels", "image_size", "patch_size", "network_args", "class_names")
    settings = read_model_settings(weights, dict.fromkeys((*keys, "temperature")))
    arguments = {key: settings[key] for key in ("spatial_dims", "in_channels", "patch_size") if settings[key]}
    network = medssm_monai.get_network(
        settings["variant"],
        num_classes=len(settings["class_names"]),
        img_size=settings["image_size"],
        **arguments,
        **settings["network_args"],
    )
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval(), settings


@pytest.mark.parametrize(("bundle", "name", "subset", "least"), SHIPPED)
def test_weights_have_settings_a_card_and_an_allowed_size(bundle, name, subset, least):
    folder = REPOSITORY / "bundles" / bundle
    _, settings = _network(folder, name)
    assert settings["temperature"] > 0 and settings["temperature"] != 1.0
    assert (folder / "models" / f"{name}.pt").stat().st_size <= 25 * 2**20
    card = (folder / "models" / f"{name}.md").read_text()
    assert "CC BY 4.0" in card and "Not for" in card


@pytest.mark.parametrize(("bundle", "name", "subset", "least"), SHIPPED)
def test_inference_with_shipped_weights_names_their_classes(bundle, name, subset, least, tmp_path, write_image):
    found = next(b for b in BUNDLES if b.name == bundle)
    folder = found.write_input(tmp_path / "in", write_image)
    weights = REPOSITORY / "bundles" / bundle / "models" / f"{name}.pt"
    found.run(("inference.yaml",), tmp_path, "infer", dataset_dir=str(folder), ckpt_path=str(weights))
    (row,) = csv.DictReader((tmp_path / "predictions.csv").open())
    assert {"probability_normal", "probability_pneumonia"} <= row.keys()
    assert float(row["probability_normal"]) + float(row["probability_pneumonia"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.realdata
@pytest.mark.parametrize(("bundle", "name", "subset", "least"), SHIPPED)
def test_shipped_weights_reach_the_card_s_accuracy(bundle, name, subset, least, real_data):
    network, settings = _network(REPOSITORY / "bundles" / bundle, name)
    items = classification_datalists(os.fspath(real_data / "medmnist"), subset=subset, duplicates="ignore")["test"]
    read = LoadImage2Dd(keys="image", kind="image", channels=settings["in_channels"])
    images = torch.stack([torch.as_tensor(read(dict(item))["image"]).float() for item in items]) * 2 - 1
    with torch.no_grad():
        logits = torch.cat([network(part) for part in images.split(64)])
    probabilities = (logits / settings["temperature"]).softmax(1).numpy()
    assert classification_metrics(probabilities, [int(item["label"]) for item in items])["accuracy"] >= least
