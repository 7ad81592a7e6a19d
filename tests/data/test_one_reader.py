"""Loading with one reader, held against MONAI's ``LoadImage``."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest
import torch
from monai.data import NibabelReader, PILReader
from monai.transforms import LoadImage
from PIL import Image

from medssm_monai.data.readers.one_reader import load_by
from medssm_monai.transforms import LoadImage2D, LoadImage3D


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (7, 5, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    affine = np.array([[0.0, 2, 0, 1], [1, 0, 0, 2], [0, 0, -3, 3], [0, 0, 0, 1]])
    nibabel.Nifti1Image(random.normal(size=(4, 5, 6)).astype(">f4"), affine).to_filename(tmp_path / "a.nii.gz")
    return {PILReader: tmp_path / "a.png", NibabelReader: tmp_path / "a.nii.gz"}


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # of LoadImage, which is why there is another way
@pytest.mark.parametrize("channel_first", [False, True])
@pytest.mark.parametrize("dtype", [None, np.float32])
@pytest.mark.parametrize("reader", [PILReader, NibabelReader])
def test_images_and_metadata_are_those_of_load_image(reader, dtype, channel_first, files):
    loaded = load_by(reader(), files[reader], dtype, channel_first)
    expected = LoadImage(dtype=dtype, ensure_channel_first=channel_first)(files[reader], reader=reader())
    assert type(loaded) is type(expected) and loaded.dtype == expected.dtype
    torch.testing.assert_close(loaded.as_tensor(), expected.as_tensor(), rtol=0, atol=0)
    assert loaded.meta.keys() == expected.meta.keys() and loaded.applied_operations == expected.applied_operations
    for key, value in expected.meta.items():
        arrays = isinstance(value, torch.Tensor)
        found = loaded.meta[key]
        np.testing.assert_equal(found.numpy() if arrays else found, value.numpy() if arrays else value)  # NaN is NaN


def test_the_home_folder_may_be_written_short(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files[PILReader].parent))
    monkeypatch.setenv("USERPROFILE", str(files[PILReader].parent))
    assert load_by(PILReader(), "~/a.png").meta["filename_or_obj"] == str(files[PILReader])


def test_no_other_reader_is_built(files, monkeypatch):
    """MONAI's reader for graphics cards warns where there is none, as soon as pydicom is installed."""

    def built(self, *args, **kwargs):
        raise AssertionError("built")

    monkeypatch.setattr("monai.data.image_reader.NvImgCodecPydicomReader.__init__", built)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LoadImage2D()(files[PILReader]).shape == (3, 7, 5)
        assert LoadImage3D(channels=1)(files[NibabelReader]).shape == (1, 4, 5, 6)


def test_what_the_reader_raises_comes_through(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(OSError, match="cannot identify image file"):
        load_by(PILReader(), tmp_path / "a.png")
