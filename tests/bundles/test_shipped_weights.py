"""The weights that come with a bundle load strictly, belong to the settings beside them and do what the card says."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import os
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
import torch
from PIL import Image

import medssm_monai
from medssm_monai.data import classification_datalists
from medssm_monai.reports.fusion import FUSED, PLAIN_FUSIONS

from .bundle_runs import BUNDLES, REPOSITORY

SHIPPED = [  # bundle, MedMNIST subset, least test accuracy
    ("medconvmamba", "pneumonia", 0.88),
    ("medspectralnet", "breast", 0.84),
]
shipped = pytest.mark.parametrize(("bundle", "subset", "least"), SHIPPED, ids=[row[0] for row in SHIPPED])
LARGEST = 20 * 10**6  # bytes
CARDS = [  # bundle, weights, what trained_on says, license of the weights
    ("mamba_mis", "model", "isic2017", "CC0"),
    ("medconvmamba", "model", "PneumoniaMNIST", "CC BY 4.0"),
    ("medspectralnet", "model", "BreastMNIST", "CC BY 4.0"),
    ("clinical_fmamba", "model", "demo", "Apache-2.0"),
    ("clinical_fmamba", "volume", "demo", "Apache-2.0"),
]
LEAST_DICE = 0.84
FUSIONS = [  # weights, overlays that choose their generated test pairs, least lead in Qabf over average and maximum
    ("model", ["generated.yaml"], 0.1),
    ("volume", ["volume.yaml", "generated_volumes.yaml"], 0.03),
]
every_card = pytest.mark.parametrize(
    ("bundle", "file", "data", "license_"), CARDS, ids=[f"{row[0]}-{row[1]}" for row in CARDS]
)


def weights_of(bundle: str, file: str = "model") -> Path:
    return REPOSITORY / "bundles" / bundle / "models" / f"{file}.pt"


@every_card
def test_weights_have_settings_a_card_and_an_allowed_size(bundle, file, data, license_):
    weights = weights_of(bundle, file)
    predictor = medssm_monai.load(bundle, ckpt_path=weights)
    assert not predictor.network.training  # its weights fit the network that the settings describe
    assert weights.stat().st_size <= LARGEST
    settings = json.loads(weights.with_suffix(".json").read_text())
    assert settings["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert settings["trained_on"] == data
    assert f"come with the bundle, trained on {data}; " in predictor.weights
    assert settings["domain"]["text"] in predictor.weights and settings["domain"]["fingerprints"]
    card = weights.with_suffix(".md").read_text()
    needed = (settings["weights_sha256"], f"License** of the weights: {license_}", "Not for")
    assert [text for text in needed if text not in card] == []


@shipped
def test_a_classifier_s_probabilities_are_calibrated(bundle, subset, least):
    settings = medssm_monai.load(bundle, ckpt_path=weights_of(bundle)).settings
    assert settings["temperature"] > 0 and settings["temperature"] != 1.0
    assert len(settings["class_names"]) == 2


@shipped
def test_a_classifier_s_answers_come_with_sets(bundle, subset, least, tmp_path):
    predictor = medssm_monai.load(bundle)  # the weights that come with it, as nobody has trained here
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)).save(tmp_path / "x.png")
    prediction = predictor.predict(tmp_path / "x.png")
    noted = json.loads(weights_of(bundle).with_suffix(".json").read_text())["conformal"]
    assert (noted["part"], noted["data"], noted["level"]) == ("validation", subset, 0.9)
    inside = [name for name, p in prediction.by_class().items() if 1 - p <= noted["threshold"] + 1e-8]
    assert sorted(prediction.prediction_set) == sorted(inside) == sorted(prediction.calibrated["prediction_set"])
    card = " ".join(weights_of(bundle).with_suffix(".md").read_text().split())
    assert f"{noted['images']} validation images" in card and "**Prediction sets**" in card


def test_the_segmentation_s_masks_come_with_a_controlled_one(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    prediction = medssm_monai.load("mamba_mis").predict(tmp_path / "x.png")
    noted = json.loads(weights_of("mamba_mis").with_suffix(".json").read_text())["conformal"]
    expected = prediction.probability.astype(float) > noted["thresholds"]["lesion"]
    assert (prediction.controlled_mask() == expected).all()
    assert prediction.calibrated["masks"]["lesion"]["pixels"] == expected.sum()
    assert "**Masks that miss little**" in weights_of("mamba_mis").with_suffix(".md").read_text()


@shipped
def test_inference_with_shipped_weights_names_their_classes(bundle, subset, least, tmp_path, write_image):
    found = next(b for b in BUNDLES if b.name == bundle)
    folder = found.write_input(tmp_path / "in", write_image)
    weights = weights_of(bundle)
    found.run(("inference.yaml",), tmp_path, "infer", dataset_dir=str(folder), ckpt_path=str(weights))
    (row,) = csv.DictReader((tmp_path / "predictions.csv").open())
    classes = medssm_monai.load(bundle, ckpt_path=weights).settings["class_names"]
    assert sum(float(row[f"probability_{kind}"]) for kind in classes) == pytest.approx(1, abs=1e-4)


@pytest.mark.realdata
@shipped
def test_shipped_weights_reach_the_card_s_accuracy(bundle, subset, least, real_data, tmp_path):
    items = classification_datalists(os.fspath(real_data / "medmnist"), subset=subset, duplicates="ignore")["test"]
    images = {"dataset#data": [{"image": item["image"]} for item in items]}
    found = next(b for b in BUNDLES if b.name == bundle)
    weights = str(weights_of(bundle))
    found.run(("inference.yaml",), tmp_path, "infer", **images, ckpt_path=weights, batch_size=64)
    classes = medssm_monai.load(bundle, ckpt_path=weights).settings["class_names"]
    predicted = [row["class"] for row in csv.DictReader((tmp_path / "predictions.csv").open())]
    right = [name == classes[int(item["label"])] for name, item in zip(predicted, items, strict=True)]
    assert sum(right) / len(right) >= least


@pytest.mark.realdata
def test_shipped_segmentation_reaches_the_card_s_dice(real_data, tmp_path):
    found = next(b for b in BUNDLES if b.name == "mamba_mis")
    names, weights = ("train.yaml", "isic2017.yaml", "evaluate.yaml"), str(weights_of("mamba_mis"))
    folder = str(real_data / "isic2017")
    found.run(names, tmp_path, run_dir=str(tmp_path / "run"), dataset_dir=folder, ckpt_path=weights)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["images"] == 150
    assert summary["per_image"]["dice"]["mean"] >= LEAST_DICE


def fusion_rows(overlays, file, folder, **settings):
    """Mean figures of the fused test pairs, and those of the fusions that need no network."""
    found = next(b for b in BUNDLES if b.name == "clinical_fmamba")
    names, weights = ("train.yaml", *overlays, "evaluate.yaml"), str(weights_of("clinical_fmamba", file))
    settings |= {"output_dir": str(folder), "run_dir": str(folder / "run"), "ckpt_path": weights}
    found.run(names, folder, **settings, report_metrics=["ssim_mean", "qabf"])
    rows = json.loads((folder / "run" / "summary.json").read_text())["rows"]
    means = {row: {metric: entry["mean"] for metric, entry in entries.items()} for row, entries in rows.items()}
    fused = means.pop(FUSED)
    assert means.keys() == PLAIN_FUSIONS.keys()
    return fused, means


@pytest.mark.parametrize(("file", "overlays", "lead"), FUSIONS, ids=[row[0] for row in FUSIONS])
def test_shipped_fusion_keeps_more_edges_than_average_and_maximum_on_generated_pairs(file, overlays, lead, tmp_path):
    fused, others = fusion_rows(overlays, file, tmp_path)
    assert fused["qabf"] > max(others["average"]["qabf"], others["maximum"]["qabf"]) + lead
    assert fused["ssim_mean"] > max(others["copy of A"]["ssim_mean"], others["copy of B"]["ssim_mean"])


@pytest.mark.realdata
def test_shipped_fusion_leads_all_plain_fusions_on_real_pairs_that_it_never_saw(real_data, tmp_path):
    settings = {"dataset_dir": str(real_data / "harvard_mri_ct"), "sources": ["MRI", "CT"]}
    fused, others = fusion_rows(["harvard_mri_ct.yaml"], "model", tmp_path, **settings)
    assert all(fused[metric] > row[metric] for row in others.values() for metric in ("ssim_mean", "qabf"))


@shipped
def test_monai_s_own_loading_gives_the_weights_that_predict(bundle, subset, least):
    predictor = medssm_monai.load(bundle)
    assert predictor.ckpt_path == str(weights_of(bundle))
    with pytest.warns(UserWarning, match="return state dict"):
        state = monai.bundle.load(bundle, bundle_dir=REPOSITORY / "bundles", device="cpu")
    network = copy.deepcopy(predictor.network)
    for parameter in network.parameters():
        parameter.data.zero_()
    filled = monai.bundle.load(bundle, bundle_dir=REPOSITORY / "bundles", device="cpu", model=network)
    assert state.keys() == predictor.network.state_dict().keys()
    for name, value in predictor.network.state_dict().items():
        torch.testing.assert_close(filled.state_dict()[name], value, msg=name)
