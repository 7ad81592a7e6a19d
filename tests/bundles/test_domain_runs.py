"""What weights are for is measured by a training and said by an inference, of every bundle."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

import medssm_monai
from medssm_monai.bundle import read_domain
from medssm_monai.data import classification_datalists
from medssm_monai.experiments import record_domain

from .bundle_runs import BUNDLES, CLASSIFIERS, CLINICAL_FMAMBA, MEDCONVMAMBA, REPOSITORY, every_bundle


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@every_bundle
def test_a_training_records_it_and_an_inference_says_it(bundle, train_tiny, tmp_path, write_image, caplog):
    out = train_tiny(bundle)
    weights = out / "models" / "model.pt"
    domain = read_domain(weights)
    keys = ["image_a", "image_b"] if bundle is CLINICAL_FMAMBA else ["image"]
    assert list(domain["fingerprints"]) == keys
    found = domain["fingerprints"][keys[0]]
    assert found["images"] == found["measured"] == 8
    assert domain["text"].startswith(f"{'pairs' if len(keys) > 1 else 'images'} like the 8 of demo, ")
    assert json.loads((out / "first" / "model.json").read_text())["domain"] == domain
    wide = found["size_p99"][1] * 3
    for number, source in enumerate(bundle.sources):
        write_image(tmp_path / "in" / source / "wide.png", wide, found["size_median"][0], "L", seed=number)
    caplog.set_level("INFO")
    bundle.run(("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(tmp_path / "in"), ckpt_path=str(weights))
    assert caplog.text.count(f"what the weights were trained for: {domain['text']}") == 1
    assert "1 of 1 is unlike the images that the weights were trained with" in caplog.text
    table = "predictions.csv" if bundle in CLASSIFIERS else "unlike_training.csv"
    (row,) = rows_of(tmp_path / "out" / table)
    assert "size (training images: " in row["unlike_training"] and row["image"].endswith("wide.png")
    assert (tmp_path / "out" / "unlike_training.csv").exists() is (bundle not in CLASSIFIERS)


@pytest.mark.parametrize("bundle", [BUNDLES[0], MEDCONVMAMBA], ids=str)
def test_images_like_the_training_images_are_not_flagged(bundle, train_tiny, tmp_path, caplog):
    out = train_tiny(bundle)
    weights = out / "models" / "model.pt"
    images = next(path for path in sorted((out / "demo_data").rglob("*.png")) if "training" in path.name)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / images.name).write_bytes(images.read_bytes())
    bundle.run(("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(folder), ckpt_path=str(weights))
    assert "unlike the images" not in caplog.text
    assert not (tmp_path / "out" / "unlike_training.csv").exists()
    if bundle is MEDCONVMAMBA:
        (row,) = rows_of(tmp_path / "out" / "predictions.csv")
        assert row["unlike_training"] == ""


def test_older_weights_are_used_as_before(train_tiny, tmp_path, write_image, caplog):
    models = train_tiny(MEDCONVMAMBA) / "models"
    settings = json.loads((models / "model.json").read_text())
    (tmp_path / "model.pt").write_bytes((models / "model.pt").read_bytes())
    del settings["domain"]
    (tmp_path / "model.json").write_text(json.dumps(settings))
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.png", 400, 30, "L", seed=number)
    caplog.set_level("INFO")
    arguments = {"dataset_dir": str(tmp_path / "in"), "ckpt_path": str(tmp_path / "model.pt")}
    MEDCONVMAMBA.run(("inference.yaml",), tmp_path / "out", "infer", **arguments)
    assert [row["unlike_training"] for row in rows_of(tmp_path / "out" / "predictions.csv")] == ["not recorded"] * 3
    assert caplog.text.count("what the weights were trained for: not recorded") == 1
    assert "unlike the images" not in caplog.text


def test_it_is_recorded_for_older_weights_by_a_command(train_tiny, tmp_path, capsys):
    out = train_tiny(MEDCONVMAMBA)
    settings = json.loads((out / "models" / "model.json").read_text())
    domain = settings.pop("domain")
    (tmp_path / "model.pt").write_bytes((out / "models" / "model.pt").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(settings))
    overlay = tmp_path / "tiny.yaml"
    overlay.write_text(f"output_dir: {tmp_path.as_posix()}\ndatalists#demo_counts: [8, 4, 4]\n")
    configs = ["--config_file", *MEDCONVMAMBA.config("train.yaml"), str(overlay)]
    assert record_domain.main([str(tmp_path / "model.pt"), *configs]) == 0
    assert read_domain(tmp_path / "model.pt") == domain
    assert domain["text"] in capsys.readouterr().out
    assert record_domain.main([str(tmp_path / "model.pt"), *configs, "--domain_text", "$toys"]) == 0
    again = json.loads((tmp_path / "model.json").read_text())
    assert again == {**settings, "domain": {**domain, "text": "$toys"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.pt"], "no weights with settings beside them"),
        (["--config_file", "nowhere.yaml"], "no such config: nowhere.yaml"),
        (["--config_file", *MEDCONVMAMBA.config("inference.yaml")], "has no validate#best_model#domain"),
        (["--dataset_dir", "nowhere"], "nowhere"),
        (["--domain_text", "two\nlines"], "domain_text is 'two.*lines'"),
    ],
    ids=["weights", "config", "another config", "data", "text"],
)
def test_what_cannot_be_recorded_is_one_error_and_changes_nothing(tmp_path, capsys, words, message):
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "model.json").write_text("{}")
    weights = [] if words[0].endswith(".pt") else [str(tmp_path / "model.pt")]
    (tmp_path / "small.yaml").write_text(f"output_dir: {tmp_path.as_posix()}\ndatalists#demo_counts: [4, 4, 4]\n")
    train = [*MEDCONVMAMBA.config("train.yaml"), str(tmp_path / "small.yaml")]
    configs = [] if "--config_file" in words else ["--config_file", *train]
    assert record_domain.main([*weights, *words, *configs]) == 2
    captured = capsys.readouterr()
    assert message.split(".*")[0] in captured.err and captured.out == ""
    assert (tmp_path / "model.json").read_text() == "{}"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("bundle", "subset", "others"),
    [
        ("medconvmamba", "pneumonia", ["covid_xray", "brain_tumor_mri/Testing"]),
        ("medspectralnet", "breast", ["covid_xray"]),
    ],
    ids=["medconvmamba", "medspectralnet"],
)
def test_shipped_weights_flag_other_images_and_few_of_their_own(bundle, subset, others, real_data):
    predictor = medssm_monai.load(bundle, ckpt_path=REPOSITORY / "bundles" / bundle / "models" / "model.pt")
    step = predictor._content("preprocessing")
    own = classification_datalists(str(real_data / "medmnist"), subset=subset, duplicates="ignore")["test"]
    flags = [step({"image": item["image"]})["unlike_training"] for item in own]
    assert sum(map(bool, flags)) / len(flags) <= 0.05
    for other in others:
        files = [path for path in sorted((real_data / other).rglob("*")) if path.suffix in (".png", ".jpg")][::4]
        flags = [step({"image": str(path)})["unlike_training"] for path in files]
        assert len(flags) >= 100 and sum(map(bool, flags)) / len(flags) >= 0.95


@pytest.mark.realdata
def test_images_of_another_kind_and_the_same_size_are_told_by_their_histograms(real_data):
    predictor = medssm_monai.load("medconvmamba", ckpt_path=REPOSITORY / "bundles/medconvmamba/models/model.pt")
    step = predictor._content("preprocessing")
    shares = {}
    for name, pattern in (("MRI", "brain_tumor_mri/Testing/*/*"), ("X-ray", "covid_xray/*/*.png")):
        images = [Image.open(path).convert("L").resize((28, 28)) for path in sorted(real_data.glob(pattern))[::4]]
        flags = [step({"image": np.asarray(image)})["unlike_training"] for image in images]
        assert not any("size" in flag for flag in flags)
        shares[name] = sum(map(bool, flags)) / len(flags)
    assert shares["MRI"] >= 0.8
    assert shares["X-ray"] <= 0.2  # what the fingerprint cannot tell: another population, brightness alike
