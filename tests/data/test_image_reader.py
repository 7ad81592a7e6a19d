"""Every kind of 2D file ends as (C, H, W) float32 in [0, 1], rows first; masks end as {0, 1}."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import ImageReadError, Reader2D
from medssm_monai.data.readers.image import read_pixels

from .builders import picture, save, square_mask, truncate

RGB = picture(5, 7)
GRAY = RGB[..., 0]
LUMA = (RGB @ np.array([0.299, 0.587, 0.114])) / 255


def load(path, **kwargs):
    reader = Reader2D(**kwargs)
    return reader.get_data(reader.read(path))


def converted(mode: str) -> Image.Image:
    return Image.fromarray(RGB).convert(mode)


@pytest.mark.parametrize("suffix", ["png", "PNG", "tif", "TIFF", "bmp"])
def test_rgb_keeps_rows_and_columns(tmp_path, suffix):
    array, meta = load(save(RGB, tmp_path / f"a b ü.{suffix}"))
    assert array.shape == (3, 5, 7)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, RGB.transpose(2, 0, 1) / 255, atol=1e-6)
    assert list(meta["spatial_shape"]) == [5, 7]
    assert meta["original_channel_dim"] == 0


def test_jpeg(tmp_path):
    smooth = np.linspace(0, 255, 64 * 48).reshape(48, 64, 1).repeat(3, 2).astype(np.uint8)
    array, _ = load(save(smooth, tmp_path / "a.JPG"))
    np.testing.assert_allclose(array, smooth.transpose(2, 0, 1) / 255, atol=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_color_become_the_channels_asked_for(tmp_path, channels):
    gray, _ = load(save(GRAY, tmp_path / "gray.png"), channels=channels)
    color, _ = load(save(RGB, tmp_path / "color.png"), channels=channels)
    np.testing.assert_allclose(gray, np.broadcast_to(GRAY / 255, (channels, 5, 7)), atol=1e-6)
    expected = LUMA[None] if channels == 1 else RGB.transpose(2, 0, 1) / 255
    np.testing.assert_allclose(color, expected, atol=1e-5)


def test_channels_none_keeps_what_the_file_has(tmp_path):
    assert load(save(GRAY, tmp_path / "gray.png"), channels=None)[0].shape == (1, 5, 7)
    assert load(save(RGB, tmp_path / "color.png"), channels=None)[0].shape == (3, 5, 7)


def test_alpha_is_dropped_not_blended(tmp_path):
    rgba = np.dstack([RGB, np.full((5, 7), 10, np.uint8)])
    np.testing.assert_allclose(load(save(rgba, tmp_path / "a.png"))[0], RGB.transpose(2, 0, 1) / 255, atol=1e-6)
    gray_alpha = np.dstack([GRAY, np.zeros((5, 7), np.uint8)])
    Image.fromarray(gray_alpha).save(tmp_path / "la.png")
    np.testing.assert_allclose(load(tmp_path / "la.png", channels=1)[0][0], GRAY / 255, atol=1e-6)


def test_a_palette_gives_colors_not_indices(tmp_path):
    palette = converted("P")
    palette.save(tmp_path / "p.png")
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(load(tmp_path / "p.png")[0], expected, atol=1e-6)


def test_one_bit(tmp_path):
    converted("1").save(tmp_path / "bits.png")
    expected = np.asarray(converted("1"), dtype=np.float32)
    np.testing.assert_array_equal(load(tmp_path / "bits.png", channels=1)[0][0], expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_range(tmp_path, suffix):
    deep = np.array([[0, 255, 256], [4095, 40000, 65535]], dtype=np.uint16)
    array, _ = load(save(deep, tmp_path / f"deep.{suffix}"), channels=1)
    np.testing.assert_allclose(array[0], deep / 65535, atol=1e-6)


def test_floating_point_files_are_scaled_by_their_own_range_or_left_alone(tmp_path):
    values = np.array([[-1.0, 0.0], [1.0, 3.0]], dtype=np.float32)
    path = save(values, tmp_path / "f.tif")
    np.testing.assert_allclose(load(path, channels=1)[0][0], [[0, 0.25], [0.5, 1]], atol=1e-6)
    np.testing.assert_array_equal(load(path, channels=1, scale=False)[0][0], values)
    constant = save(np.full((2, 2), 7, np.float32), tmp_path / "constant.tif")
    assert not load(constant, channels=1)[0].any()


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert load(tmp_path / "turned.png")[0].shape == (3, 5, 7)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (1, 7, 5), (7, 1, 5), (7, 5, 1, 1)])
def test_nifti_slices_put_x_on_columns_and_move_the_affine_along(tmp_path, shape):
    data = np.arange(35, dtype=np.int16).reshape(shape)
    affine = np.array([[2, 0.1, 0, 5], [0, 3, 0.2, 6], [0.3, 0, 4, 7], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "slice.nii.gz")
    array, meta = load(tmp_path / "slice.nii.gz", channels=1, scale=False)
    assert array.shape == (1, 5, 7)
    np.testing.assert_array_equal(array[0].T.reshape(shape), data)
    x, y = [axis for axis, size in enumerate(shape) if size > 1]
    index = [0.0, 0.0, 0.0, 1.0]
    index[x], index[y] = 4, 2
    np.testing.assert_allclose(meta["affine"] @ [2, 4, 0, 1], affine @ index, atol=1e-5)


def test_a_volume_and_a_document_of_pages_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6)), np.eye(4)), tmp_path / "volume.nii")
    with pytest.raises(ImageReadError, match=r"volume.nii.*\(4, 5, 6\).*single slice"):
        load(tmp_path / "volume.nii")
    Image.fromarray(GRAY).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(GRAY)])
    with pytest.raises(ImageReadError, match="2 pages"):
        load(tmp_path / "pages.tif")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path, bad):
    values = np.ones((3, 4), np.float32)
    values[1, 2] = bad
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "bad.nii")
    with pytest.raises(ValueError, match=r"bad.nii: 1 values are NaN or infinite"):
        load(tmp_path / "bad.nii")


def test_damaged_files_name_themselves_and_the_remedy(tmp_path):
    path = truncate(save(picture(64, 64), tmp_path / "cut.png"))
    with pytest.raises(ImageReadError, match=r"cut.png: cannot be decoded.*copy or export it again"):
        load(path)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ImageReadError, match=r"text.png: not an image of a known format"):
        load(tmp_path / "text.png")
    nib.save(nib.Nifti1Image(np.random.rand(40, 40), np.eye(4)), tmp_path / "cut.nii.gz")
    with pytest.raises(ImageReadError, match=r"cut.nii.gz: cannot be decoded"):
        load(truncate(tmp_path / "cut.nii.gz"))
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        load(tmp_path / "nowhere.png")


MASK = square_mask()


@pytest.mark.parametrize(
    "stored",
    [
        MASK,
        MASK // 255,
        MASK > 0,
        np.where(MASK > 0, 200, 5).astype(np.uint8),
        np.repeat(MASK[..., None], 3, axis=2),
        np.dstack([MASK, MASK * 0, MASK * 0]),
        np.dstack([MASK, MASK, MASK, np.full_like(MASK, 255)]),
        MASK.astype(np.uint16) * 257,
        MASK.astype(np.uint16),
    ],
    ids=["255", "0-1", "1-bit", "gray", "rgb", "red", "rgba", "16-bit", "8-in-16"],
)
def test_masks_of_every_encoding(tmp_path, stored):
    array, _ = load(save(stored, tmp_path / "m.png"), kind="mask")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, (MASK > 0)[None])


def test_a_palette_mask(tmp_path):
    image = Image.fromarray(MASK // 255, mode=None)
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 750)
    assert image.mode == "P"
    image.save(tmp_path / "voc.png")
    np.testing.assert_array_equal(load(tmp_path / "voc.png", kind="mask")[0][0], MASK > 0)


def test_a_jpeg_mask_with_noise_only_is_empty(tmp_path):
    noise = np.zeros((16, 16), np.uint8)
    noise[::2] = 1
    path = tmp_path / "noise.jpg"
    Image.fromarray(noise).save(path, quality=100)
    assert not load(path, kind="mask")[0].any()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"kind": "label"},
        {"channels": 2},
        {"intensity_range": 0},
        {"intensity_range": 70000},
        {"foreground": "all"},
        {"foreground": []},
        {"foreground": [[1, 2]]},
        {"foreground": ["1"]},
        {"foreground": [0.5]},
    ],
)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        Reader2D(**kwargs)


@pytest.mark.parametrize(("suffix", "form"), [("gif", "GIF"), ("webp", "WEBP"), ("png", "PNG"), ("tif", "TIFF")])
def test_several_pictures_in_one_file_are_no_image(tmp_path, suffix, form):
    frames = [Image.fromarray(np.full((8, 9), value, dtype=np.uint8)) for value in (0, 120, 255)]
    frames[0].save(tmp_path / f"a.{suffix}", form, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageReadError, match="holds 3 pages, expected one"):
        read_pixels(tmp_path / f"a.{suffix}")
