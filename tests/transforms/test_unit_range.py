"""Intensities in [0, 1]: from our loaders as these do it themselves, from a host's arrays by their type."""

from __future__ import annotations

import logging
import math

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from PIL import Image

from medssm_monai.transforms import LoadImage2D, LoadImage3D, ToUnitRange, ToUnitRanged

from ..data.builders import picture, save

GENERATOR = np.random.default_rng(0)
DEEP = GENERATOR.integers(0, 4096, (6, 5)).astype(np.uint16)


def nifti(path, values):
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 3.0, 1.0, 1.0])), path)
    return path


def files(folder):
    """Name -> (file or array, loader)."""
    deep = folder / "deep.png"
    Image.fromarray(DEEP).save(deep)
    return {
        "color": (save(picture(12, 9), folder / "a.png"), LoadImage2D),
        "gray": (save(picture(12, 9)[..., 0], folder / "b.jpg"), LoadImage2D),
        "16 bits": (deep, LoadImage2D),
        "NIfTI": (nifti(folder / "a.nii", GENERATOR.normal(size=(6, 5)).astype(np.float32)), LoadImage2D),
        "array": (GENERATOR.integers(0, 256, (6, 5, 3)).astype(np.uint8), LoadImage2D),
        "deep array": (DEEP, LoadImage2D),
        "float array": (GENERATOR.random((6, 5), np.float32), LoadImage2D),
        "volume": (nifti(folder / "v.nii.gz", GENERATOR.normal(size=(6, 5, 4)).astype(np.float32)), LoadImage3D),
        "volume array": (GENERATOR.integers(0, 256, (6, 5, 4)).astype(np.uint8), LoadImage3D),
    }


@pytest.mark.parametrize("channels", [1, 3, None])
@pytest.mark.parametrize(
    "name",
    ["color", "gray", "16 bits", "NIfTI", "array", "deep array", "float array", "volume", "volume array"],
)
def test_loading_alone_and_then_scaling_is_loading_scaled(tmp_path, name, channels):
    source, loader = files(tmp_path)[name]
    stated = 4095 if "deep" in name or "16" in name else None
    expected = loader(channels=channels, intensity_range=stated)(source)
    raw = loader(channels=None, scale=False)(source)
    scaled = ToUnitRange(channels, stated)(raw)
    assert torch.equal(scaled.as_tensor(), expected.as_tensor()) and scaled.dtype == torch.float32
    np.testing.assert_array_equal(np.asarray(scaled.affine), np.asarray(expected.affine))
    assert torch.equal(ToUnitRange()(scaled).as_tensor(), scaled.as_tensor())  # scaled once, and not again


def test_a_loader_that_only_loads_keeps_the_units_of_the_file(tmp_path):
    deep = tmp_path / "deep.png"
    Image.fromarray(DEEP).save(deep)
    raw = LoadImage2D(channels=None, scale=False)(deep)
    np.testing.assert_array_equal(np.asarray(raw)[0], DEEP)
    assert raw.meta["full_range"] == 65535 and math.isnan(raw.meta["declared_range"])
    assert list_data_collate([{"image": raw}, {"image": raw}])["image"].shape == (2, 1, 6, 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (torch.tensor([[[0, 51, 255]]], dtype=torch.uint8), [0, 0.2, 1]),
        (torch.tensor([[[0, 13107, 65535]]], dtype=torch.uint16), [0, 0.2, 1]),
        (torch.tensor([[[False, True, True]]]), [0, 1, 1]),
        (torch.tensor([[[-1000, -750, 0]]], dtype=torch.int16), [0, 0.25, 1]),
        (torch.tensor([[[2.0, 3.0, 6.0]]]), [0, 0.25, 1]),
        (torch.tensor([[[7.0, 7.0, 7.0]]]), [0, 0, 0]),
        (torch.tensor([[[0.0, 51]], [[0, 51]], [[0, 51]], [[255, 255]]]).to(torch.uint8), [0, 0.2]),  # RGBA
    ],
)
@pytest.mark.parametrize("wrap", [MetaTensor, torch.as_tensor], ids=["MetaTensor", "tensor"])
def test_arrays_of_a_host_go_by_their_type(values, expected, wrap):
    scaled = ToUnitRange(1)(wrap(values))
    assert scaled.shape[0] == 1
    torch.testing.assert_close(torch.as_tensor(scaled)[0, 0], torch.tensor(expected, dtype=torch.float32))


def test_a_dark_image_of_16_bits_is_warned_of_and_a_stated_range_is_kept_to(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    deep = tmp_path / "deep.png"
    Image.fromarray(DEEP).save(deep)
    raw = LoadImage2D(channels=None, scale=False)(deep)
    assert not caplog.records
    ToUnitRange()(raw)
    assert "intensity_range 4095" in caplog.text and deep.name in caplog.text
    with pytest.raises(ValueError, match="more than intensity_range=255"):
        ToUnitRange(intensity_range=255)(raw)


def test_bad_values_and_arguments_are_named():
    with pytest.raises(ValueError, match="x.png: NaN or infinite"):
        ToUnitRange()(MetaTensor(torch.full((1, 2, 2), math.nan), meta={"filename_or_obj": "x.png"}))
    with pytest.raises(ValueError, match="channels must be 1, 3 or None"):
        ToUnitRange(2)
    with pytest.raises(KeyError):
        ToUnitRanged("image")({})
    assert ToUnitRanged("image", allow_missing_keys=True)({}) == {}
