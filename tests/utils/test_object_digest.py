"""Objects named by what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambda, ScaleIntensity, Spacing

from medssm_monai.data import LabelSet
from medssm_monai.transforms import LoadImage2D, LoadImageVolumed, LoadLabels
from medssm_monai.utils.object_digest import object_digest

EQUAL = [
    lambda: {"b": 1, "a": [1, 2.5, None, "x", b"y"]},
    lambda: {3, 1, 2},
    lambda: np.arange(6).reshape(2, 3),
    lambda: torch.ones(2, 3),
    lambda: Path("a") / "b",
    lambda: partial(np.add, 1),
    lambda: LabelSet.of({"a": 1, "b": [2, 3]}),
    lambda: Compose([LoadImageVolumed("image"), Spacing((1, 1, 2)), ScaleIntensity()]),
    lambda: LoadImage2D(),
    lambda: Lambda(lambda x: x + 1),
    lambda: threading.Lock(),
    lambda: np.float32,
]


@pytest.mark.parametrize("make", EQUAL)
def test_equal_objects_have_one_name(make):
    assert object_digest(make()) == object_digest(make())


def test_order_of_keys_does_not_count_order_of_entries_does():
    assert object_digest({"a": 1, "b": 2}) == object_digest({"b": 2, "a": 1})
    assert object_digest([1, 2]) != object_digest([2, 1])


def adding(number):
    return lambda x: x + number


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, True),
        (1, 1.0),
        ("1", 1),
        ([1, [2]], [[1], 2]),
        ({"a": None}, {"a": 0}),
        (np.zeros(3), np.zeros((3, 1))),
        (np.zeros(3), np.zeros(3, np.float32)),
        (torch.zeros(3), torch.tensor([0.0, 0, 1e-9])),
        (adding(1), adding(2)),
        (lambda x: x + 1, lambda x: x - 1),
        (lambda x: x + 1, lambda x: x + 2),
        (partial(int, base=2), partial(int, base=3)),
        (np.add, np.subtract),
        (np.float32, np.float64),
        (ScaleIntensity(0, 1), ScaleIntensity(0, 2)),
        (LoadImage2D(intensity_range=1023), LoadImage2D(intensity_range=4095)),
        (LoadLabels({"a": 1, "b": 2}), LoadLabels({"b": 1, "a": 2})),
    ],
)
def test_other_settings_have_another(first, second):
    assert object_digest(first) != object_digest(second)


def test_circles_end():
    first: list = [1]
    first.append(first)
    second: list = [1]
    second.append(second)
    assert object_digest(first) == object_digest(second)


THINGS = "[{'c', 'b', 'a'}, {'x': 1.5, 2: None}, lambda x: x in {'b', 'a', 'c'}, partial(sorted, key=len), Path('a')]"


def test_the_same_in_every_process():
    """Whatever seed the hashes of strings have there."""
    source = sys.modules[object_digest.__module__].__file__
    names = "'__name__': 'm', 'partial': __import__('functools').partial, 'Path': __import__('pathlib').Path"
    code = f"import runpy; print(runpy.run_path({source!r})['object_digest'](eval({THINGS!r}, {{{names}}})))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == object_digest(eval(THINGS, {"__name__": "m", "partial": partial, "Path": Path}))
