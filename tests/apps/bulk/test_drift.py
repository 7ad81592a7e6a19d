"""Drift of a batch: shares beside an independent interval, shifts of the mean histogram."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from medssm_monai.apps.bulk.drift import Batch, wilson_bound
from medssm_monai.apps.bulk.outcome import Input, Outcome
from medssm_monai.data.fingerprint import Fingerprint, ImageFacts


def facts(shift=0.0, seed=0):
    values = np.random.default_rng(seed).normal(0.5 + shift, 0.1, (1, 40, 40)).clip(0, 1)
    return ImageFacts.of(values)


@pytest.fixture(scope="module")
def training():
    return Fingerprint.of([facts(seed=seed) for seed in range(50)], 50)


def outcome(shift=0.0, seed=0, unlike=()):
    return Outcome("done", unlike=unlike, inputs=(Input.of("image", facts(shift, seed)),), predictions=1)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (3, 20), (20, 20), (12, 400)])
def test_the_bound_is_that_of_scipy(count, total):
    expected = binomtest(count, total).proportion_ci(0.95, method="wilson").low
    assert wilson_bound(count, total) == pytest.approx(expected, abs=1e-6)


def test_a_batch_like_the_training_is_not_flagged(training):
    batch = Batch({"image": training})
    for seed in range(100):
        batch.add(outcome(seed=1000 + seed, unlike=("size",) if seed < 3 else ()))
    assert batch.flags() == () and batch.unlike == 3


def test_many_unlike_images_are_flagged_with_their_reasons(training):
    batch = Batch({"image": training})
    for seed in range(100):
        batch.add(outcome(seed=1000 + seed, unlike=("size (training images: 40 x 40)",) if seed < 15 else ()))
    (flag,) = batch.flags()
    assert flag == "15 of 100 studies are unlike the training: size (training images: 40 x 40) in 15"


def test_a_shift_that_no_image_shows_is_flagged_of_many(training):
    shift = 0.8 * training.bound
    assert training.differences(facts(shift, 7)) == ()
    few, many = Batch({"image": training}), Batch({"image": training})
    for seed in range(40):
        many.add(outcome(shift, seed))
        if seed < 10:
            few.add(outcome(shift, seed))
    assert few.flags() == ()  # a mean of ten images is not judged
    (flag,) = many.flags()
    assert flag.startswith("the mean intensities of 40 images (image) are shifted by 0.0")


def test_sums_go_through_json(training):
    batch = Batch({"image": training})
    for seed in range(5):
        batch.add(outcome(0.2, seed, ("size",)))
    again = Batch({"image": training}).merge(batch.plain()).merge(batch.plain())
    assert (again.studies, again.unlike, again.reasons["size"], again.images["image"]) == (10, 10, 10, 10)
    assert again.distances()["image"] == pytest.approx(batch.distances()["image"], abs=1e-6)
