"""What training images have in common: measured as by independent means, and told from other images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medssm_monai.data.fingerprint import (
    BINS,
    MARGIN,
    NOT_RECORDED,
    Fingerprint,
    ImageFacts,
    distance,
    flag_reasons,
    flag_text,
)


def image(seed=0, size=(40, 48), mean=0.4, channels=1):
    values = np.random.default_rng(seed).normal(mean, 0.1, (channels, *size)).clip(0, 1)
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def fingerprint():
    """Of sixty gray images of 40 x 44 to 40 x 52 whose brightness varies a little."""
    facts = [ImageFacts.of(image(seed, (40, 44 + seed % 9), 0.4 + 0.001 * seed)) for seed in range(60)]
    return Fingerprint.of(facts, 1000)


@pytest.mark.parametrize("size", [(7, 9), (5, 6, 7)])
def test_the_histogram_is_numpy_s(size):
    values = image(3, size)
    expected, _ = np.histogram(values[0].astype(np.float64), bins=BINS, range=(0, 1))
    np.testing.assert_allclose(ImageFacts.of(values).histogram, expected / values.size, atol=1e-12)
    assert ImageFacts.of(values).size == size


def test_white_is_in_the_last_bin_and_color_is_its_luminance():
    assert ImageFacts.of(np.ones((1, 4, 4), np.float32)).histogram[-1] == 1
    green = np.zeros((3, 4, 4), np.float32)
    green[1] = 1
    assert ImageFacts.of(green).histogram[int(0.587 * BINS)] == 1


@pytest.mark.parametrize(
    ("change", "color"), [(0.0, False), (1.0, True), (0.005, False)], ids=["gray", "color", "a small mark"]
)
def test_color_is_told_from_gray_saved_as_color(change, color):
    values = np.repeat(image(1), 3, axis=0)
    rows = int(round(change * 40)) if change in (0, 1) else 1
    values[0, :rows, : 48 if change == 1 else 4] = 1 - values[0, :rows, : 48 if change == 1 else 4]
    assert ImageFacts.of(values).color is color


def test_large_images_are_thinned_out_evenly():
    values = np.tile(np.linspace(0, 1, 3000, dtype=np.float32), (1, 2000, 1))
    facts = ImageFacts.of(values)
    assert facts.size == (2000, 3000)
    np.testing.assert_allclose(facts.histogram, 1 / BINS, atol=1e-3)


def test_the_distance_is_the_area_between_the_cumulative_histograms():
    a, b = ImageFacts.of(image(0)).histogram, ImageFacts.of(image(1, mean=0.7)).histogram
    assert distance(a, b) == pytest.approx(np.abs(np.cumsum(a) - np.cumsum(b)).sum() / BINS)
    assert distance(a, b) == pytest.approx(0.3, abs=0.01)  # by how much gray values are moved


def test_figures_are_those_of_numpy(fingerprint):
    facts = [ImageFacts.of(image(seed, (40, 44 + seed % 9), 0.4 + 0.001 * seed)) for seed in range(60)]
    mean = np.mean([one.histogram for one in facts], axis=0)
    np.testing.assert_allclose(fingerprint.histogram, mean, atol=1e-6)
    own = [np.abs(np.cumsum(one.histogram - mean)).sum() / BINS for one in facts]
    assert fingerprint.distance_p99 == pytest.approx(np.percentile(own, 99), abs=1e-6)
    assert (fingerprint.size_p01, fingerprint.size_median, fingerprint.size_p99) == ((40, 44), (40, 48), (40, 52))
    assert (fingerprint.images, fingerprint.measured, fingerprint.color_share) == (1000, 60, 0)
    assert (fingerprint.size_text, fingerprint.color_text) == ("40 x 44 to 40 x 52", "gray")


def test_it_comes_back_from_json(fingerprint):
    again = Fingerprint(**json.loads(json.dumps(fingerprint.as_dict())))
    assert again.as_dict() == fingerprint.as_dict()
    assert again.differences(ImageFacts.of(image(99))) == ()


def test_further_images_of_the_kind_pass(fingerprint):
    further = (ImageFacts.of(image(seed, mean=0.4 + 0.001 * (seed % 60))) for seed in range(100, 300))
    assert sum(bool(fingerprint.differences(facts)) for facts in further) <= 4  # of 200


UNLIKE = [
    ({"size": (40, 105)}, "size"),
    ({"size": (19, 48)}, "size"),
    ({"mean": 0.6}, "intensities"),
    ({"mean": 0.9, "size": (200, 200)}, "size intensities"),
]


@pytest.mark.parametrize(("other", "reasons"), UNLIKE, ids=[f"{reasons} {other}" for other, reasons in UNLIKE])
def test_images_of_another_kind_are_told_why(fingerprint, other, reasons):
    found = fingerprint.differences(ImageFacts.of(image(5, **other)))
    assert [reason.split()[0] for reason in found] == reasons.split()


@pytest.mark.parametrize("size", [(40, 104), (20, 48), (80, 22)])
def test_a_factor_of_two_is_no_other_size(fingerprint, size):
    assert fingerprint.differences(ImageFacts.of(image(5, size))) == ()


@pytest.mark.parametrize(("share", "reasons"), [(0.0, (True, False)), (0.5, (False, False)), (1.0, (False, True))])
def test_color_or_gray_is_unlike_where_no_training_image_was_so(fingerprint, share, reasons):
    trained = replace(fingerprint, color_share=share)
    gray = ImageFacts.of(image(5))
    found = [trained.differences(replace(gray, color=color)) for color in (True, False)]
    assert tuple(bool(reason) for reason in found) == reasons
    assert all(reason[0].startswith(name) for reason, name in zip(found, ("color", "gray"), strict=True) if reason)


def test_the_bound_is_the_percentile_with_its_margin_and_never_below_a_bin(fingerprint):
    assert replace(fingerprint, distance_p99=0.2).bound == pytest.approx(0.2 * MARGIN)
    alone = Fingerprint.of([ImageFacts.of(image(0))], 1)
    assert alone.distance_p99 == 0 and alone.bound == 1 / BINS
    assert alone.differences(ImageFacts.of(image(1))) == ()


def test_no_images_and_other_axes_are_refused(fingerprint):
    with pytest.raises(ValueError, match="no images to measure"):
        Fingerprint.of([], 0)
    with pytest.raises(ValueError, match="has 3 axes, the domain of the weights is of images with 2"):
        fingerprint.differences(ImageFacts.of(image(0, (8, 8, 8))))


@pytest.mark.parametrize("reasons", [(), ("size (a)",), ("size (a)", "color (b)")])
def test_reasons_pass_as_one_text(reasons):
    assert flag_reasons(flag_text(reasons)) == reasons
    assert flag_reasons(None) == flag_reasons(NOT_RECORDED) == ()
