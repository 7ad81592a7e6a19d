from __future__ import annotations

import io
import math
import warnings

import numpy as np
import pytest
from PIL import Image

from medssm_monai.visualize.coverage import plot_promise

BLUE, GRAY = (0, 0x72, 0xB2), 0.75


def drawn(shares, promised=0.9, at_least=True):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit warns
        plot_promise(shares, promised, at_least, "coverage", stream)
    return np.asarray(Image.open(stream).convert("RGB")).astype(int)


def columns(picture, color):
    return np.argwhere((abs(picture - np.array(color)) < 30).all(axis=-1))[:, 1]


def test_points_lie_on_their_side_of_the_promise():
    below, above = drawn([("a", 0.7, 0.65, 0.75)]), drawn([("a", 0.97, 0.95, 0.99)])
    promise = [np.median(columns(picture[60:], (0xD5, 0x5E, 0))) for picture in (below, above)]
    assert columns(below, BLUE).max() < promise[0] and columns(above, BLUE).min() > promise[1]


def test_the_side_that_keeps_the_promise_is_hatched():
    for at_least in (True, False):
        picture = drawn([("a", 0.5, 0.3, 0.7)], 0.5, at_least)[60:-60]
        hatch = columns(picture, (191, 191, 191))
        promise = np.median(columns(picture, (0xD5, 0x5E, 0)))
        inside = (hatch > promise) if at_least else (hatch < promise)
        assert inside.mean() > 0.8


@pytest.mark.parametrize(
    "shares",
    [
        [("a", math.nan, math.nan, math.nan), ("b", 1.0, 1.0, 1.0)],
        [("a" * 300, 0.1, 0.0, 0.2), ("gr\udcfcn $x$", 0.9, 0.8, 1.0)] * 5,
        [("one", 0.9, math.nan, math.nan)],
    ],
)
def test_what_can_happen_is_drawn(shares):
    assert drawn(shares).size > 0
