"""Explanations from Python: the class that is predicted, at the size of the file, and no trace in the predictor."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Resized
from PIL import Image

import medssm_monai
from medssm_monai.transforms import LoadImage2Dd
from medssm_monai.visualize import ImageExplainer, grad_cam

from .tiny_bundles import CLASSES, CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, copy_bundle


@pytest.fixture(scope="module", params=[MEDCONVMAMBA, MEDSPECTRALNET], ids=lambda tiny: tiny.bundle)
def predictor(request, tmp_path_factory):
    return medssm_monai.load(copy_bundle(request.param, tmp_path_factory.mktemp("bundles")), device="cpu")


def picture(seed=0, size=(40, 50)):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def test_the_predicted_class_is_explained_at_the_size_of_the_file(predictor, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "x.png")
    prediction = predictor.predict(tmp_path / "x.png")
    shown = predictor.explain(tmp_path / "x.png")
    assert (shown.class_name, shown.predicted, shown.label) == (prediction.class_name,) * 2 + (prediction.label,)
    assert shown.confidence == pytest.approx(prediction.confidence)
    assert shown.heatmap.shape == (40, 50)
    assert shown.heatmap.min() >= 0
    np.testing.assert_array_equal(shown.image, np.repeat(picture()[..., None], 3, axis=-1))
    assert (shown.overlay.shape, shown.overlay.dtype) == ((40, 50, 3), np.uint8)
    path = shown.save(tmp_path / "out")
    assert path == tmp_path / "out" / "x_explained.png"
    assert Image.open(path).size == (2 * 50 * 7 + 4, 40 * 7 + 58)
    np.testing.assert_array_equal(np.asarray(Image.open(shown.save(tmp_path / "y.png"))), shown.picture())
    with pytest.raises(ValueError, match="x.png is the image itself"):
        shown.save(tmp_path / "x.png")


def test_arrays_and_other_classes(predictor):
    image = picture()
    probabilities = predictor.predict(image).by_class()
    for number, name in enumerate(CLASSES):
        by_name, by_number = predictor.explain(image, name), predictor.explain(image, number)
        assert by_name.class_name == name
        assert by_name.confidence == pytest.approx(probabilities[name])
        assert by_name.predicted == max(probabilities, key=probabilities.get)
        np.testing.assert_array_equal(by_name.heatmap, by_number.heatmap)
    with pytest.raises(ValueError, match="no class 'rnig'; the classes are ring, smooth, lobed"):
        predictor.explain(image, "rnig")


def test_threads_see_their_own_image_and_predictions_go_on(predictor):
    images = [picture(seed, (33 + seed, 47)) for seed in range(6)]
    expected = [predictor.explain(image).heatmap for image in images]
    before = [predictor.predict(image).probabilities for image in images]
    assert all(parameter.grad is None for parameter in predictor.network.parameters())
    start = threading.Barrier(12)

    def work(task):
        start.wait()
        return [getattr(predictor, task)(image) for image in images]

    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(work, ["explain", "predict"] * 6))
    for explained, predicted in zip(done[::2], done[1::2], strict=True):
        for shown, heatmap in zip(explained, expected, strict=True):
            np.testing.assert_array_equal(shown.heatmap, heatmap)
        for prediction, probabilities in zip(predicted, before, strict=True):
            np.testing.assert_array_equal(prediction.probabilities, probabilities)


class Quadrant(torch.nn.Module):
    """Two logits; the first is the mean of the upper left quarter of the image."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Identity()

    def forward(self, x):
        x = self.layer(x)
        half = x.shape[-1] // 2
        return torch.stack([x[:, 0, :half, :half].mean((1, 2)), -x[:, 0].mean((1, 2))], 1)


def test_the_map_lies_where_the_image_has_it(tmp_path):
    pixels = np.zeros((60, 40), np.uint8)
    pixels[6:18, 20:30] = 255  # rows 6..17, columns 20..29
    Image.fromarray(pixels).save(tmp_path / "p.png")
    load = LoadImage2Dd("image", channels=1)
    preprocessing = Compose([load, Resized("image", (20, 20), mode="bilinear")])
    explainer = ImageExplainer("layer", load, preprocessing, ["quarter", "rest"])
    item = preprocessing({"image": str(tmp_path / "p.png")})
    activation = explainer.activation(Quadrant(), item["image"], 0)
    torch.testing.assert_close(activation, grad_cam(Quadrant(), item["image"][None], "layer", 0)[0])
    shown = explainer.explanation(str(tmp_path / "p.png"), item, activation, [0.75, 0.25], 0)
    inside = shown.heatmap[8:16, 22:28]
    assert inside.min() > 0.99 * shown.peak
    outside = shown.heatmap.copy()
    outside[4:20, 17:33] = 0
    assert outside.max() == pytest.approx(0, abs=1e-6)
    assert (shown.class_name, shown.confidence, shown.predicted) == ("quarter", 0.75, "quarter")


def test_nothing_to_see_is_said_and_drawn(tmp_path):
    load = LoadImage2Dd("image", channels=1)
    explainer = ImageExplainer("layer", load, Compose([load]), ["quarter", "rest"])
    black = np.zeros((8, 8), np.uint8)
    item = Compose([load])({"image": black})
    shown = explainer.explanation(black, item, torch.zeros(1, 8, 8), [0.5, 0.5], 0)
    assert shown.peak == 0
    assert np.isfinite(shown.overlay).all()
    assert shown.picture().shape == (8 * 40 + 58, 2 * 320 + 4, 3)


@pytest.mark.parametrize("tiny", [MAMBA_MIS, CLINICAL_FMAMBA], ids=lambda tiny: tiny.bundle)
def test_other_kinds_have_nothing_to_explain(tiny, tmp_path):
    predictor = medssm_monai.load(copy_bundle(tiny, tmp_path), device="cpu")
    with pytest.raises(ValueError, match=f"{tiny.bundle} has nothing to explain.*this one does {predictor.kind}"):
        predictor.explain(picture())


def test_volumes_are_refused():
    explainer = ImageExplainer("layer", dict, Compose([]), ["a", "b"])
    with pytest.raises(ValueError, match=r"explanations show 2D images \(C, H, W\), got shape \(1, 4, 4, 4\)"):
        explainer.activation(torch.nn.Identity(), torch.zeros(1, 4, 4, 4), 0)
