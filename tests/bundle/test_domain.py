"""What weights were trained for, beside them: read, refused where malformed, carried along, said by predictions."""

from __future__ import annotations

import copy
import csv
import json
import logging

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import medssm_monai
from medssm_monai.bundle import describe_weights, publish_weights, read_domain, update_model_settings
from medssm_monai.experiments import pack_weights
from medssm_monai.export.source import open_source
from medssm_monai.handlers import TrainingDomain

from .tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, VOLUMES, copy_bundle

TINIES = [MAMBA_MIS, MEDCONVMAMBA, CLINICAL_FMAMBA, VOLUMES]
TEXT = "toys of a test, 40 x 40 pixels, gray"


def pixels(seed, tiny, mean=100):
    size = (18, 20, 22) if tiny is VOLUMES else (40, 40)
    return np.random.default_rng(seed).normal(mean, 20, size).clip(0, 255).astype(np.uint8)


def source(seed, tiny, mean=100):
    """What the predictor takes."""
    if tiny in (CLINICAL_FMAMBA, VOLUMES):
        return pixels(seed, tiny, mean), pixels(seed + 1000, tiny, mean)
    return pixels(seed, tiny, mean)


def domain(tiny=MEDCONVMAMBA):
    pair = tiny in (CLINICAL_FMAMBA, VOLUMES)
    images = [source(seed, tiny) for seed in range(12)]
    items = [dict(zip(("image_a", "image_b"), one, strict=True)) if pair else {"image": one} for one in images]
    return TrainingDomain(items, text=TEXT, spatial_dims=3 if tiny is VOLUMES else 2)()


@pytest.fixture(scope="module", params=TINIES, ids=lambda tiny: tiny.settings["variant"])
def recorded(request, tmp_path_factory):
    """A tiny bundle whose weights have a domain, and the bundle without one."""
    folder = tmp_path_factory.mktemp("domain")
    roots = [copy_bundle(request.param, folder / name) for name in ("with", "without")]
    update_model_settings(roots[0] / "models" / "model.pt", domain=domain(request.param))
    return request.param, *roots


def values(prediction):
    return getattr(
        prediction,
        next(name for name in ("probability", "probabilities", "image") if hasattr(prediction, name)),
    )


def test_a_prediction_says_what_it_is_for_and_stays_as_it_is(recorded, caplog):
    tiny, root, without = recorded
    predictor, plain = (medssm_monai.load(one, device="cpu") for one in (root, without))
    with caplog.at_level(logging.WARNING):
        like = predictor.predict(source(50, tiny))
        assert (like.unlike_training, like.trained_for, caplog.text) == ((), TEXT, "")
        unlike = [predictor.predict(source(seed, tiny, 220)) for seed in (51, 52)]
    keys = ("image_a: ", "image_b: ") if tiny in (CLINICAL_FMAMBA, VOLUMES) else ("",)
    wanted = tuple(f"{key}intensities (training images: another histogram)" for key in keys)
    assert [one.unlike_training for one in unlike] == [wanted] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(keys)  # each reason once
    assert TEXT in caplog.text
    assert predictor.domain["text"] == TEXT and f"for {TEXT}; SHA-256" in predictor.weights
    np.testing.assert_array_equal(values(unlike[0]), values(plain.predict(source(51, tiny, 220))))


def test_weights_of_earlier_versions_say_that_it_is_not_recorded(recorded, caplog):
    tiny, _, without = recorded
    predictor = medssm_monai.load(without, device="cpu")
    with caplog.at_level(logging.WARNING):
        found = [predictor.predict(source(seed, tiny, 220)) for seed in (51, 52)]
    assert predictor.domain is None and read_domain(without / "models" / "model.pt") is None
    assert {(one.trained_for, one.unlike_training) for one in found} == {("not recorded", ())}
    assert caplog.text == ""


def test_a_classification_s_table_says_it(recorded, tmp_path):
    tiny, *roots = recorded
    if tiny is not MEDCONVMAMBA:
        return
    cells = []
    for root in roots:
        predictor = medssm_monai.load(root, device="cpu")
        for mean in (100, 220):
            table = predictor.predict(source(60, tiny, mean)).save(tmp_path / "one.csv")
            cells.append(next(csv.DictReader(table.open()))["unlike_training"])
    assert cells == ["", "intensities (training images: another histogram)", "not recorded", "not recorded"]


def _with(path, value):
    """The domain with one part replaced; ``...`` takes it out."""
    wrong = copy.deepcopy(domain())
    *above, last = path
    part = wrong
    for key in above:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return wrong


IMAGE = ("fingerprints", "image")
WRONG = [
    (None, "domain is None; expected an object with text and fingerprints"),
    ("children", "domain is 'children'; expected an object"),
    (_with(("text",), ...), "domain is .*; expected an object with exactly text, fingerprints"),
    (_with(("more",), 1), "domain is .*; expected an object with exactly text, fingerprints"),
    (_with(("text",), "two\nlines"), "domain, text is .*without control characters"),
    (_with(("text",), 5), "domain, text is 5"),
    (_with(("fingerprints",), []), "domain, fingerprints is .*an object with image, or with image_a and image_b"),
    (_with(("fingerprints", "image_a"), {}), "domain, fingerprints is .*an object with image, or"),
    (_with((*IMAGE, "histogram"), ...), "domain, fingerprints, image is .*exactly images, measured, size_p01"),
    (_with((*IMAGE, "images"), 0), "image, images is 0; expected a whole number from 1"),
    (_with((*IMAGE, "measured"), 13), "image, measured is 13; expected at most the number of images, 12"),
    (_with((*IMAGE, "size_p99"), [40]), r"image, size_p99 is \[40\]; expected a list of 2 to 3 whole numbers"),
    (_with((*IMAGE, "size_p99"), [40, 40, 40]), "image, size_p99 is .*expected 2 whole numbers, one per axis"),
    (_with((*IMAGE, "color_share"), 1.5), "image, color_share is 1.5; expected a number from 0 to 1"),
    (_with((*IMAGE, "color_share"), "$1"), r"image, color_share is '\$1'"),
    (_with((*IMAGE, "histogram"), [1.0]), "image, histogram is .*a list of 32 numbers from 0 to 1 whose sum is 1"),
    (_with((*IMAGE, "histogram"), [0.5] * 32), "image, histogram is .*whose sum is 1"),
    (_with((*IMAGE, "distance_p99"), float("nan")), "image, distance_p99 is nan"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_domain_that_no_training_writes_is_refused(tmp_path, wrong, message):
    settings = {**MEDCONVMAMBA.settings, "domain": wrong}
    (tmp_path / "model.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message) as raised:
        read_domain(tmp_path / "model.pt")
    assert str(tmp_path / "model.json") in str(raised.value) and len(str(raised.value)) < 600


def test_a_bundle_with_such_a_domain_is_not_loaded(tmp_path):
    root = copy_bundle(MEDCONVMAMBA, tmp_path)
    settings = {**MEDCONVMAMBA.settings, "domain": {"text": "x"}}
    (root / "models" / "model.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"model\.json: domain is .*exactly text, fingerprints"):
        medssm_monai.load(root, device="cpu").predict(pixels(0, MEDCONVMAMBA))


def test_it_survives_publishing_packing_and_export(tmp_path):
    run = copy_bundle(MEDCONVMAMBA, tmp_path / "run") / "models"
    odd = {**domain(), "text": "$open('ran', 'w') @x 50 % of #1"}
    update_model_settings(run / "model.pt", domain=odd)
    published = publish_weights(run, tmp_path / "published")
    assert read_domain(published) == odd
    assert pack_weights.main([str(published), str(tmp_path / "packed.pt")]) == 0
    assert read_domain(tmp_path / "packed.pt") == odd
    source = open_source(run.parent)
    assert ConfigParser(json.loads(source.extra["inference.json"])).get_parsed_content("domain") == odd
    carried = ConfigParser(json.loads(source.extra["inference.json"]))
    step = next(one for one in carried.get_parsed_content("preprocessing").transforms if hasattr(one, "fingerprints"))
    flag = step({"image": torch.as_tensor(pixels(0, MEDCONVMAMBA, 220))[None]})["unlike_training"]
    assert flag.startswith("intensities")
    untrained = open_source(run.parent, untrained=True)
    assert json.loads(untrained.extra["inference.json"])["domain"] is None


def test_weights_of_a_federation_s_server_have_no_domain_here(tmp_path, monkeypatch):
    root = copy_bundle(MEDCONVMAMBA, tmp_path)
    path = root / "models" / "model.pt"
    update_model_settings(path, domain=domain())
    assert read_domain(path)["text"] == TEXT
    monkeypatch.setattr("medssm_monai.bundle.settings.in_federation", lambda: True)
    assert read_domain(path) is None
    assert TEXT in describe_weights(path)
