"""Keys of the bundles that concern reading: small images under a window, 12 bits in 16, grey stored as colour."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

import medssm_monai

from .tiny_bundles import BUNDLES, CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, copy_bundle

NAMES = ("mamba_mis", "medconvmamba", "medspectralnet", "clinical_fmamba")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        tiny.bundle: copy_bundle(tiny, folder) for tiny in (MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, CLINICAL_FMAMBA)
    }


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 80), (12, 80), (80, 5), (10, 10), (1, 1)])
def test_images_smaller_than_the_window_are_segmented_at_their_size(bundles, size):
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu", resize_to=False)
    prediction = predictor.predict(noise(*size, 3))
    assert prediction.probability.shape == size
    assert np.isfinite(prediction.probability).all()


def test_a_window_much_larger_than_the_resized_image(bundles):
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu", resize_to=[32, 32], roi_size=[96, 96])
    assert predictor.predict(noise(40, 50, 3)).probability.shape == (40, 50)


def test_a_small_pair_is_fused_under_a_window(bundles):
    predictor = medssm_monai.load(bundles["clinical_fmamba"], device="cpu", sliding_window=True)
    assert predictor.predict((noise(10, 12), noise(10, 12, seed=1))).image.shape[-2:] == (10, 12)


@pytest.mark.parametrize("bundle", NAMES)
def test_no_config_pads_by_reflection(bundle):
    """It fails for images smaller than half a window."""
    for path in (BUNDLES / bundle / "configs").glob("*.yaml"):
        assert "padding_mode: reflect" not in path.read_text(), path


def _values(prediction):
    for name in ("probability", "probabilities", "image"):
        if hasattr(prediction, name):
            return np.asarray(getattr(prediction, name))
    raise AssertionError(f"{type(prediction).__name__} has no values")


@pytest.mark.parametrize("name", NAMES)
def test_the_range_of_12_bit_images_can_be_stated_in_every_bundle(bundles, name, tmp_path, caplog):
    deep = np.random.default_rng(0).integers(0, 4096, (40, 50), dtype=np.uint16)
    deep[0, 0] = 4095
    Image.fromarray(deep).save(tmp_path / "deep.png")
    other = noise(40, 50, seed=2)

    def predict(source, **keys):
        predictor = medssm_monai.load(bundles[name], device="cpu", **keys)
        return _values(predictor.predict((source, other) if name == "clinical_fmamba" else source))

    with caplog.at_level(logging.WARNING):
        stated = predict(tmp_path / "deep.png", intensity_range=4095)
    assert "bits or fewer" not in caplog.text
    np.testing.assert_allclose(stated, predict(deep / 4095), atol=1e-4)
    with caplog.at_level(logging.WARNING):
        dark = predict(tmp_path / "deep.png")
    assert "deep.png: 16-bit image whose largest value is 4095: it uses 12 bits or fewer" in caplog.text
    assert np.abs(dark - stated).max() > 1e-3


def test_grey_stored_as_colour_is_fused_like_grey(bundles):
    predictor = medssm_monai.load(bundles["clinical_fmamba"], device="cpu")
    a, b = noise(40, 44), noise(40, 44, seed=1)
    expected = _values(predictor.predict((a, b)))
    for stored in ((np.repeat(a[..., None], 3, -1), b), (a, np.repeat(b[..., None], 3, -1))):
        np.testing.assert_array_equal(_values(predictor.predict(stored)), expected)
