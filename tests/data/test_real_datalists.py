"""Datalists over the real image sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import Reader2D, image_datalist, segmentation_datalists

from .builders import names

pytestmark = pytest.mark.realdata
SPLITS = Path(__file__).resolve().parents[2] / "bundles" / "mamba_mis" / "splits"


def folder(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        pytest.skip(f"no {name} in {root}")
    return root / name


def test_isic2017(real_data):
    lists = segmentation_datalists(folder(real_data, "isic2017"))
    assert {part: len(items) for part, items in lists.items()} == {"training": 1800, "validation": 200, "test": 150}
    every = sorted(names(lists["training"]) + names(lists["validation"]))
    assert names(lists["validation"]) == every[::10]
    assert not set(every) & set(names(lists["test"]))
    for items in lists.values():
        assert all(Path(item["label"]).stem == f"{Path(item['image']).stem}_segmentation" for item in items)


def test_isic2017_mask_values(real_data):
    item = segmentation_datalists(folder(real_data, "isic2017"), check=False)["test"][0]
    reader = Reader2D(kind="mask")
    mask, _ = reader.get_data(reader.read(item["label"]))
    np.testing.assert_array_equal(mask[0], np.asarray(Image.open(item["label"]).convert("L")) > 127)
    assert set(np.unique(mask)) == {0, 1}


def test_clinicdb_frames_by_the_shipped_split(real_data):
    root = folder(real_data, "polyp_cvc_clinicdb")
    lists = segmentation_datalists(root, split_file=SPLITS / "cvc_clinicdb_frames_1_400.json")
    assert {part: len(items) for part, items in lists.items()} == {"training": 280, "validation": 60, "test": 60}
    assert [names(lists[part])[0] for part in lists] == ["1", "281", "341"]
    assert names(segmentation_datalists(root, check=False)["test"]) == names(lists["test"])  # as without split file


def test_original_size_pairs(real_data):
    lists = segmentation_datalists(folder(real_data, "isic2017") / "original_size")
    assert sum(map(len, lists.values())) == 3


def test_a_dicom_slice_has_its_rows_and_its_place_in_space(real_data):
    items = image_datalist(folder(real_data, "dicom_t1_series"))
    assert len(items) == 40
    reader = Reader2D(channels=1)
    array, meta = reader.get_data(reader.read(items[0]["image"]))
    assert array.shape == (1, 384, 274)
    assert (array.min(), array.max()) == (0, 1)
    spacing = np.linalg.norm(meta["affine"][:3, :2], axis=0)
    np.testing.assert_allclose(spacing, [0.667, 0.700], atol=1e-3)
    assert abs(np.linalg.det(meta["affine"])) > 0
