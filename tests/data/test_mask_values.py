"""Masks: no labeled pixel becomes background without a word, no mask is silently full, one rule for a data set."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import DatalistError, MaskValuesError, Reader2D, segmentation_datalists
from medssm_monai.transforms import LoadImage2D, LoadImage2Dd

from .builders import picture, save, save_pairs, square_mask
from .dicom_files import save_dicom

ONE = square_mask(24, 32, value=1)
TWO = np.zeros_like(ONE)
TWO[12:20, 15:28] = 1
RULES = [[1], "nonzero", "half"]


def load(path, **kwargs):
    return LoadImage2D(kind="mask", **kwargs)(path)[0].numpy()


def write(values, folder, form):
    """The same mask in every kind of file; ``values`` ``(H, W)`` uint8."""
    if form == "npz":
        np.savez(folder / "m.npz", masks=values[None])
        return f"{folder}/m.npz/masks/0"
    if form == "nifti":
        nib.save(nib.Nifti1Image(values.T.astype(np.int16), np.eye(4)), folder / "m.nii.gz")
        return folder / "m.nii.gz"
    if form == "dicom":
        return save_dicom(folder / "m.dcm", values)
    return values if form == "array" else save(values, folder / f"m.{form}")


FORMS = ["png", "tif", "bmp", "nifti", "dicom", "npz", "array"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [1, 255])
def test_one_label_of_a_usual_value_is_read_from_every_kind_of_file(tmp_path, form, value):
    np.testing.assert_array_equal(load(write(ONE * value, tmp_path, form)), ONE)
    assert not load(write(ONE * 0, tmp_path, form)).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (ONE + 2 * TWO, "values 0, 1, 2"),
        (2 * ONE, "values 0, 2"),
        (100 * ONE, "values 0, 100"),
        (100 * ONE + 255 * TWO, "values 0, 100, 255"),
        (128 * ONE + 255 * TWO, "values 0, 128, 255"),
    ],
    ids=["0-1-2", "0-2", "0-100", "0-100-255", "0-128-255"],
)
def test_values_that_do_not_say_what_is_foreground_are_named(tmp_path, form, values, words):
    path = write(values, tmp_path, form)
    with pytest.raises(MaskValuesError, match=rf"{words}: which are foreground.*'nonzero'.*'half'.*\[1, 2\]"):
        load(path)
    np.testing.assert_array_equal(load(path, foreground="nonzero"), values > 0)
    np.testing.assert_array_equal(load(path, foreground=[2, 100]), np.isin(values, [2, 100]))
    np.testing.assert_array_equal(load(path, foreground="half"), values > 127)


def test_thin_labels_of_another_value_are_seen(tmp_path):
    values = 255 * TWO
    values[2, 1:] = 100
    values[:, 1] = 100
    with pytest.raises(MaskValuesError, match="values 0, 100, 255"):
        load(save(values, tmp_path / "m.png"))


def test_negative_values_and_values_above_a_byte(tmp_path):
    nib.save(nib.Nifti1Image((ONE.T * 300.0 - TWO.T).astype(np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(MaskValuesError, match="values -1, 0, 300"):
        load(tmp_path / "a.nii")
    deep = np.where(ONE > 0, 65535, 0).astype(np.uint16)
    np.testing.assert_array_equal(load(save(deep, tmp_path / "b.png")), ONE)
    with pytest.raises(MaskValuesError, match="values 0, 30000, 65535"):
        load(save(deep + 30000 * TWO.astype(np.uint16), tmp_path / "c.png"))


@pytest.mark.parametrize("color", [(255, 255, 255), (128, 0, 0), (0, 255, 0), (200, 180, 40)])
def test_one_bright_color_is_a_label_whatever_it_is(tmp_path, color):
    np.testing.assert_array_equal(load(save(ONE[..., None] * np.uint8(color), tmp_path / "m.png")), ONE)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((64, 0, 0), None, r"colors \(0, 0, 0\), \(64, 0, 0\)"),
        ((255, 0, 0), (0, 255, 0), r"\(0, 255, 0\), \(255, 0, 0\)"),
        ((128, 0, 0), (0, 128, 0), r"\(0, 128, 0\), \(128, 0, 0\)"),
        ((255, 255, 0), (255, 165, 0), r"\(255, 165, 0\), \(255, 255, 0\)"),
    ],
)
def test_colors_that_do_not_say_what_is_foreground(tmp_path, first, second, words):
    image = Image.fromarray(ONE + 2 * TWO * (second is not None))
    image.putpalette([0, 0, 0, *first, *(second or (0, 0, 0))])
    image.save(tmp_path / "m.png")
    with pytest.raises(MaskValuesError, match=words):
        load(tmp_path / "m.png")
    np.testing.assert_array_equal(load(tmp_path / "m.png", foreground=[list(first)]), ONE)


@pytest.mark.parametrize("ground", [0, 255])
def test_a_mask_in_the_alpha_channel_is_read_from_there(tmp_path, ground):
    path = save(np.dstack([np.full((24, 32, 3), ground, np.uint8), ONE * 255]), tmp_path / "a.png")
    np.testing.assert_array_equal(load(path), ONE)
    gray = save(np.dstack([np.full((24, 32), ground, np.uint8), ONE * 255]), tmp_path / "b.png")
    np.testing.assert_array_equal(load(gray), ONE)


def test_alpha_is_ignored_where_the_colors_carry_the_mask(tmp_path):
    path = save(np.dstack([ONE * 255] * 3 + [TWO * 255]), tmp_path / "a.png")
    np.testing.assert_array_equal(load(path), ONE)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_borders_that_are_gray_from_resizing_or_compression_stay_borders(tmp_path, factor, suffix):
    small = Image.fromarray(ONE * 255)
    large = small.resize((32 * factor, 24 * factor), Image.Resampling.BICUBIC)
    large.save(tmp_path / f"m.{suffix}")
    expected = np.asarray(Image.open(tmp_path / f"m.{suffix}")) > 127
    np.testing.assert_array_equal(load(tmp_path / f"m.{suffix}"), expected)


@pytest.mark.parametrize("quality", [10, 30, 60, 75, 95])
@pytest.mark.parametrize("color", [(255, 255, 255), (255, 0, 0)])
@pytest.mark.parametrize("side", [1, 2, 4, 7, 16])
def test_small_labels_in_lossy_files_stay_clear(tmp_path, quality, color, side):
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[11 : 11 + side, 21 : 22 + side] = color
    Image.fromarray(mask).save(tmp_path / "m.jpg", quality=quality)
    stored = np.asarray(Image.open(tmp_path / "m.jpg")).max(-1)
    if stored.max() > 127 or stored.max() <= 40:
        np.testing.assert_array_equal(load(tmp_path / "m.jpg"), stored > 127)
    else:  # washed out: nothing is bright, nothing is guessed
        with pytest.raises(MaskValuesError, match="m.jpg"):
            load(tmp_path / "m.jpg")


def test_a_second_label_in_a_lossy_file_is_seen(tmp_path):
    big = np.kron(100 * ONE + 255 * TWO, np.ones((8, 8), np.uint8))
    Image.fromarray(big).save(tmp_path / "m.jpg", quality=90)
    with pytest.raises(MaskValuesError, match="which are foreground"):
        load(tmp_path / "m.jpg")


def test_probabilities_are_cut_at_one_half(tmp_path):
    soft = np.where(ONE > 0, 0.7, 0.2).astype(np.float32)
    nib.save(nib.Nifti1Image(soft.T, np.eye(4)), tmp_path / "m.nii")
    np.testing.assert_array_equal(load(tmp_path / "m.nii"), ONE)


# ---- the data set ----------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    save_pairs(tmp_path / "images", tmp_path / "masks", list("abcdefghij"))
    return tmp_path


def put(dataset, **masks):
    for name, values in masks.items():
        save(values, dataset / "masks" / f"{name}.png")


SMALL, OTHER = square_mask(value=1), np.zeros((12, 16), np.uint8)
OTHER[8:11, 9:14] = 1


def test_class_numbers_are_one_error_with_values_files_and_remedy(dataset):
    put(dataset, **{name: SMALL + 2 * OTHER for name in "bhj"}, **{name: SMALL for name in "acdefgi"})
    with pytest.raises(DatalistError) as caught:
        segmentation_datalists(dataset, split="by_name")
    message = str(caught.value)
    assert [problem.kind for problem in caught.value.problems] == ["unclear mask"]
    for words in ("b.png", "values 0, 1, 2", "2 more mask(s)", "--foreground nonzero", '"[1,2]"'):
        assert words in message
    for rule in ("nonzero", [2], [1, 2]):
        lists = segmentation_datalists(dataset, split="by_name", foreground=rule)
        item = LoadImage2Dd("label", kind="mask", foreground=rule)(
            next(pair for part in lists.values() for pair in part if pair["name"] == "b")
        )
        np.testing.assert_array_equal(item["label"][0], OTHER if rule == [2] else SMALL + OTHER)


def test_each_mask_clear_but_their_labels_different(dataset):
    put(dataset, **{name: SMALL[..., None] * np.uint8([128, 0, 0]) for name in "abcde"})
    put(dataset, **{name: SMALL[..., None] * np.uint8([0, 128, 0]) for name in "fghij"})
    with pytest.raises(DatalistError, match=r"(?s)labels of several values.*\(128, 0, 0\); and 4 more.*\(0, 128, 0\)"):
        segmentation_datalists(dataset)
    assert segmentation_datalists(dataset, foreground="nonzero")
    assert segmentation_datalists(dataset, foreground=[[128, 0, 0], [0, 128, 0]])


def test_0_1_beside_0_255_in_one_folder(dataset):
    put(dataset, c=SMALL, d=SMALL)
    with pytest.raises(DatalistError, match=r"2 of 0/1, such as c.png; 8 of 0/255, such as a.png"):
        segmentation_datalists(dataset, split="by_name")
    assert segmentation_datalists(dataset, foreground="nonzero")


def test_empty_masks_have_no_encoding(dataset):
    put(dataset, c=SMALL * 0)
    assert segmentation_datalists(dataset)


def test_class_numbers_with_a_bright_outline_are_unclear(dataset):
    """As Pascal VOC marks its classes: numbers inside, 255 around them."""
    filled = np.full((12, 16), 255, np.uint8)
    filled[1:-1, 1:-1] = 5
    put(dataset, **{name: filled for name in "abcdefghij"})
    with pytest.raises(DatalistError, match=r"values up to 5 cover more than the bright foreground; and 9 more"):
        segmentation_datalists(dataset)


def test_assumptions_are_said_once_with_a_count(dataset, caplog):
    gray = square_mask()
    gray[8:12, 10:16] = 11
    alpha = np.dstack([np.full((12, 16, 3), 255, np.uint8), square_mask()])
    put(dataset, a=gray, b=gray, c=alpha)
    with caplog.at_level(logging.WARNING):
        segmentation_datalists(dataset)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert "1 mask(s) of one color are read from their alpha channel" in said[0]
    assert "2 mask(s) hold even areas of nearly black gray, up to 11 of 255" in said[1]


def test_a_mask_that_was_not_checked_fails_when_it_is_loaded(dataset):
    put(dataset, b=SMALL * 2)
    lists = segmentation_datalists(dataset, check="header")
    item = next(pair for part in lists.values() for pair in part if pair["name"] == "b")
    with pytest.raises(Exception, match=r"b.png: values 0, 2"):
        LoadImage2Dd("label", kind="mask")(item)


def test_images_are_never_looked_at_as_masks(tmp_path):
    reader = Reader2D()
    assert reader.get_data(reader.read(save(picture(), tmp_path / "a.png")))[0].shape == (3, 12, 16)
