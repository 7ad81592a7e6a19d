from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from medssm_monai.visualize.distribution import plot_distribution

RNG = np.random.default_rng(0)


def drawn(scores):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit warns
        plot_distribution(scores, "dice", stream)
    return np.asarray(Image.open(stream).convert("RGB"))


def test_bars_stand_where_the_scores_are():
    low, high = drawn({"dice": RNG.uniform(0, 0.3, 50)}), drawn({"dice": RNG.uniform(0.7, 1, 50)})
    blue = [np.argwhere((picture == (0, 0x72, 0xB2)).all(axis=-1))[:, 1].mean() for picture in (low, high)]
    assert blue[0] < low.shape[1] / 2 < blue[1]


@pytest.mark.parametrize(
    "scores",
    [
        {"a": [0.5], "b": [float("nan")]},
        {"a": []},
        {"a" * 300: [0.1, 0.2], "a" * 299: [0.3], "gr\udcfcn $x$": RNG.normal(9, 3, 900)},
        {"dice": [-3.0, 4.0]},
    ],
)
def test_what_can_happen_is_drawn(scores):
    assert drawn(scores).size > 0
