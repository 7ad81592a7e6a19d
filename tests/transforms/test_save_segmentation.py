"""Results lie on their input: same pixels, same affine, and nothing is overwritten by accident."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Invertd, Resized
from PIL import Image

from medssm_monai.transforms import CopyMetad, LoadImage2D, LoadImage2Dd, SaveImage2D, SaveImage2Dd

from ..data.builders import picture, save, square_mask

AFFINE = np.array([[2, 0.1, 0, 5], [0, 3, 0.2, 6], [0.3, 0, 4, 7], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", ["a.png", "b c.JPG", "ü.tif", "v1.2.bmp"])
def test_raster_gives_an_eight_bit_png_of_the_inputs_size(tmp_path, name):
    image = LoadImage2D()(save(picture(21, 34), tmp_path / "in" / name))
    probability = image[:1]
    path = SaveImage2D(tmp_path / "out" / "deep")(probability, image.meta)
    assert path == tmp_path / "out" / "deep" / f"{name[: -len(Path(name).suffix)]}.png"
    with Image.open(path) as saved:
        assert (saved.mode, saved.size) == ("L", (34, 21))
        pixels = np.asarray(saved)
    assert set(np.unique(pixels)) == {0, 255}
    np.testing.assert_array_equal(pixels > 0, image[0].numpy() >= 0.5)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (1, 7, 5), (7, 5, 1, 1)])
def test_nifti_gives_nifti_of_the_inputs_shape_and_affine(tmp_path, suffix, shape):
    data = np.arange(35, dtype=np.int16).reshape(shape)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / f"slice{suffix}")
    image = LoadImage2D(channels=1)(tmp_path / f"slice{suffix}")
    path = SaveImage2D(tmp_path / "out")(image, image.meta)
    saved = nib.load(path)
    assert path.name == f"slice{suffix}"
    assert saved.shape == shape
    assert saved.get_data_dtype() == np.uint8
    np.testing.assert_allclose(saved.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), data >= 17)


def test_probabilities_on_request(tmp_path):
    image = LoadImage2D(channels=1)(save(np.array([[0, 100], [200, 255]], np.uint8), tmp_path / "a.png"))
    path = SaveImage2D(tmp_path / "out", threshold=None)(image, image.meta)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), [[0, 100], [200, 255]])
    nib.save(nib.Nifti1Image(np.array([[0.0, 0.25], [0.5, 1.0]]), AFFINE), tmp_path / "b.nii")
    image = LoadImage2D(channels=1)(tmp_path / "b.nii")
    saved = nib.load(SaveImage2D(tmp_path / "out", threshold=None)(image, image.meta))
    np.testing.assert_allclose(saved.get_fdata(), [[0.0, 0.25], [0.5, 1.0]])


def test_in_a_pipeline_with_resize_and_back(tmp_path):
    files = {
        "image": str(save(picture(53, 37), tmp_path / "images" / "a.png")),
        "label": str(save(square_mask(53, 37), tmp_path / "masks" / "a.png")),
        "dataset": "ETIS",
    }
    pre = Compose(
        [LoadImage2Dd("image"), LoadImage2Dd("label", kind="mask"), Resized("image", (64, 64), mode="bilinear")]
    )
    data = pre(files)
    truth = torch.tensor(square_mask(53, 37) / 255.0)[None, None]
    data["pred"] = torch.nn.functional.interpolate(truth, (64, 64), mode="bilinear")[0]
    invert = Invertd("pred", transform=pre, orig_keys="image", nearest_interp=False)
    result = Compose([CopyMetad("pred"), invert, SaveImage2Dd("pred", tmp_path / "out")])(data)
    assert result["saved_to"] == str(tmp_path / "out" / "ETIS" / "a.png")
    saved = np.asarray(Image.open(result["saved_to"])) > 0
    truth = square_mask(53, 37) > 0
    assert saved.shape == truth.shape
    assert 2 * (saved & truth).sum() / (saved.sum() + truth.sum()) > 0.8


def test_equal_stems_never_overwrite_each_other(tmp_path, caplog):
    saver = SaveImage2D(tmp_path / "out")
    written = {}
    for index, source in enumerate(["x/1.png", "y/1.png", "x/1.jpg", "z/y/1.png", "x/1.png"]):
        image = LoadImage2D(channels=1)(save(np.full((4, 5 + index % 4), 200, np.uint8), tmp_path / source))
        written.setdefault(saver(image, image.meta).name, []).append(source)
    assert written == {
        "1.png": ["x/1.png", "x/1.png"],
        "y_1.png": ["y/1.png"],
        "x_1.png": ["x/1.jpg"],
        "y_1_2.png": ["z/y/1.png"],
    }
    assert "belongs to another input" in caplog.text


def test_a_result_never_replaces_its_input(tmp_path):
    path = save(picture(), tmp_path / "a.png")
    before = path.read_bytes()
    image = LoadImage2D(channels=1)(path)
    with pytest.raises(ValueError, match="overwrite the input itself; choose another output_dir"):
        SaveImage2D(tmp_path)(image, image.meta)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    image = LoadImage2D(channels=1)(save(picture(), tmp_path / "a.png"))
    with pytest.raises(PermissionError, match="output"):
        SaveImage2D(tmp_path / "file" / "out")(image, image.meta)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:, :-1], r"\(11, 16\), the input \(12, 16\).*Invertd"),
        (lambda p: torch.cat([p, p]), r"one foreground channel \(1, H, W\)"),
        (lambda p: p[0], "one foreground channel"),
        (lambda p: p * float("nan"), "NaN"),
    ],
)
def test_bad_results(tmp_path, change, message):
    image = LoadImage2D(channels=1)(save(picture(), tmp_path / "a.png"))
    with pytest.raises(ValueError, match=message):
        SaveImage2D(tmp_path / "out")(change(image.as_tensor()), image.meta)
    assert not (tmp_path / "out").exists()


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="filename_or_obj"):
        SaveImage2D(tmp_path)(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="threshold"):
        SaveImage2D(tmp_path, threshold=0.0)
    with pytest.raises(ValueError, match="one key"):
        SaveImage2Dd(("pred", "other"), tmp_path)


@pytest.mark.realdata
def test_a_dicom_slice_gives_nifti_in_its_place(real_data, tmp_path):
    source = sorted((real_data / "dicom_t1_series").glob("*.dcm"))[0]
    image = LoadImage2D(channels=1)(source)
    path = SaveImage2D(tmp_path)(image, image.meta)
    saved = nib.load(path)
    assert path.name == f"{source.stem}.nii.gz"
    np.testing.assert_allclose(saved.affine, image.meta["file_affine"], atol=1e-4)
    np.testing.assert_array_equal(np.asarray(saved.dataobj)[:, :, 0].T, image[0].numpy() >= 0.5)
