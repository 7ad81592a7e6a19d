"""Input is looked at when it is used: a config without its default input can be read, checked and handed to a host."""

from __future__ import annotations

import pickle

import pytest
from PIL import Image

from medssm_monai.data import WhenUsed, image_datalist


def write_image(path):
    Image.new("L", (8, 8)).save(path)


def test_items_are_those_of_the_listing(tmp_path):
    items = WhenUsed(image_datalist, tmp_path)
    for name in ("b.png", "a.png", "c.png"):
        write_image(tmp_path / name)
    expected = image_datalist(tmp_path)
    assert (len(items), list(items), items[1:]) == (3, expected, expected[1:])
    assert (items[0], items[-1]) == (expected[0], expected[2])
    assert list(pickle.loads(pickle.dumps(items))) == expected
    (tmp_path / "a.png").unlink()
    assert list(items) == expected  # listed once


@pytest.mark.parametrize("use", [len, list, lambda items: items[0]])
def test_missing_input_fails_where_it_is_used_and_not_before(tmp_path, use):
    items = WhenUsed(image_datalist, str(tmp_path / "images"))
    assert repr(items) == f"WhenUsed(image_datalist, {str(tmp_path / 'images')!r})"
    with pytest.raises(FileNotFoundError, match="images does not exist"):
        use(items)
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "a.png")
    assert len(items) == 1
