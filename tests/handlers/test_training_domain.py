"""What a training measures of its images: few of them, evenly chosen, in a form that a settings file may hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medssm_monai.bundle.domain_rules import wrong_domain
from medssm_monai.data import ImageReadError
from medssm_monai.handlers import TrainingDomain


def pixels(seed, size=(20, 24), channels=()):
    return np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)


class Watched(list):
    """A datalist that remembers which items were asked for."""

    def __init__(self, items):
        super().__init__(items)
        self.asked = []

    def __getitem__(self, index):
        self.asked.append(index)
        return super().__getitem__(index)


@pytest.mark.parametrize(
    ("count", "dims", "expected"), [(1, 2, 1), (100, 2, 100), (1000, 2, 256), (100, 3, 64)], ids=str
)
def test_few_images_are_read_evenly_chosen_and_once(count, dims, expected):
    shape = (6, 7) if dims == 2 else (4, 5, 6)
    data = Watched([{"image": pixels(number % 7, shape)} for number in range(count)])
    state = torch.get_rng_state()
    domain = TrainingDomain(data, "toys", spatial_dims=dims)
    assert data.asked == []  # not before it is asked for
    found = domain()["fingerprints"]["image"]
    assert (found["images"], found["measured"]) == (count, expected)
    assert len(data.asked) == len(set(data.asked)) == expected
    assert (min(data.asked), max(data.asked)) == (0, count - 1)
    assert np.ptp(np.diff(data.asked)) <= 1 if expected > 1 else True
    assert domain() is domain() and len(data.asked) == expected
    assert torch.equal(torch.get_rng_state(), state)


MADE = [
    ([{"image": pixels(0)}, {"image": pixels(1)}], {}, "images like the 2 of toys, 20 x 24 pixels, gray"),
    ([{"image": pixels(0, channels=(3,))}], {}, "images like the 1 of toys, 20 x 24 pixels, color"),
    (
        [{"image": pixels(0)}, {"image": pixels(1, (30, 40), (3,))}],
        {},
        "images like the 2 of toys, 20 x 24 to 30 x 40 pixels, gray and color",
    ),
    ([{"image": pixels(0, (4, 5, 6))}], {"spatial_dims": 3}, "images like the 1 of toys, 4 x 5 x 6 voxels, gray"),
    (
        [{"image_a": pixels(0), "image_b": pixels(1, channels=(3,))}],
        {},
        "pairs like the 1 of toys, 20 x 24 pixels, gray and color",
    ),
    ([{"image": pixels(0), "label": pixels(1)}], {"text": "skin lesions"}, "skin lesions"),
]


@pytest.mark.parametrize(("data", "more", "text"), MADE, ids=[text for _, _, text in MADE])
def test_a_text_is_made_where_none_is_given(data, more, text, caplog):
    with caplog.at_level("INFO"):
        domain = TrainingDomain(data, "toys", **more)()
    assert domain["text"] == text and f"trained for: {text}" in caplog.text
    assert wrong_domain(domain, more.get("spatial_dims", 2)) is None
    assert list(domain["fingerprints"]) == [key for key in data[0] if key != "label"]


def test_a_long_name_of_the_data_stays_within_a_line():
    assert wrong_domain(TrainingDomain([{"image": pixels(0)}], "x" * 255)()) is None


@pytest.mark.parametrize("text", ["", " ", "two\nlines", 5, "x" * 301])
def test_a_text_that_no_settings_file_may_hold_is_refused_at_once(text):
    with pytest.raises(ValueError, match=r"domain_text is .*; expected a text of 1 to 300 characters"):
        TrainingDomain([], text=text)


def test_what_cannot_be_measured_is_named(tmp_path):
    for data in ([], [{"label": 1}]):
        with pytest.raises(ValueError, match=f"{len(data)} training items, none with image or image_a or image_b"):
            TrainingDomain(data)()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageReadError, match=r"broken\.png: not an image of a known format"):
        TrainingDomain([{"image": str(tmp_path / "broken.png")}])()
