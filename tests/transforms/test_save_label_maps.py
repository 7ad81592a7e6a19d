"""Label maps and volumes lie on their input and keep names, values, colors, geometry; PIL and nibabel read them."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from medssm_monai.data.labels import LabelSet
from medssm_monai.transforms import LoadImage2D, SaveImage2D, SaveImage2Dd, SaveSegmentation, SaveSegmentationd
from medssm_monai.transforms.label_files import file_names

from ..data.builders import picture, save

ORGANS = LabelSet.of(
    {"background": 0, "liver": 3, "left kidney": [7, 9], "spleen": 12}, [[255, 0, 0], [0, 9, 8], [1, 2, 3]]
)
TUMOR = LabelSet.of({"whole": [1, 2, 3], "core": [1, 3], "enhancing": 3, "ignore": 255})
BY_RULE = LabelSet.of({"lesion": "foreground"})
OBLIQUE = np.array([[-1.1, 0.3, 0.05, 40.5], [0.25, 1.4, -0.1, -20.25], [0.07, 0.2, 2.5, 5.125], [0, 0, 0, 1]])


def organs(*size: int) -> torch.Tensor:
    values = torch.tensor([0, 3, 7, 12], dtype=torch.uint8)
    return values[torch.randint(4, (1, *size), generator=torch.Generator().manual_seed(0))]


def volume_file(folder, name="case.nii.gz", shape=(7, 5, 4), kind=nib.Nifti1Image):
    """A volume whose q-form and s-form have codes of their own; a sheared s-form, which no q-form holds."""
    image = kind(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), None)
    image.set_sform(OBLIQUE, code=4)
    image.set_qform(np.diag([1.1, 1.4, 2.5, 1]), code=1)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / name)
    return folder / name


def loaded(path) -> MetaTensor:
    """As a loader of volumes gives it."""
    image = nib.load(path)
    meta = {"filename_or_obj": str(path), "file_kind": "nifti", "file_size": np.array(image.shape[:3])}
    meta |= {"file_shape": np.array(image.shape), "file_affine": image.affine}
    return MetaTensor(torch.zeros(1, *image.shape[:3]), meta=meta)


def test_the_old_names_are_the_same_classes():
    assert SaveSegmentation is SaveImage2D
    assert SaveSegmentationd is SaveImage2Dd
    assert SaveSegmentationd.__name__.startswith("SaveImage")  # by which MONAI Deploy leaves writers out


@pytest.mark.parametrize("name", ["a.png", "b c.JPG", "v1.2.bmp"])
def test_classes_of_a_picture_give_an_indexed_png(tmp_path, name):
    image, pred = LoadImage2D()(save(picture(21, 34), tmp_path / "in" / name)), organs(21, 34)
    path = SaveSegmentation(tmp_path / "out", labels=ORGANS)(pred, image.meta, folder="ETIS")
    assert (path.parent.name, path.suffix) == ("ETIS", ".png")
    with Image.open(path) as saved:
        assert (saved.mode, saved.size) == ("P", (34, 21))
        np.testing.assert_array_equal(np.asarray(saved), pred[0].numpy())
        colors = np.asarray(saved.convert("RGB"))
        text = json.loads(saved.text["labels"])
    assert text == {"background": 0, "liver": 3, "left kidney": [7, 9], "spleen": 12}
    for value, color in {0: (0, 0, 0), 3: (255, 0, 0), 7: (0, 9, 8), 12: (1, 2, 3)}.items():
        assert set(map(tuple, colors[pred[0].numpy() == value])) == {color}
    noted = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert noted == {"labels": text, "colors": {"liver": [255, 0, 0], "left kidney": [0, 9, 8], "spleen": [1, 2, 3]}}
    assert LabelSet.of(noted["labels"], list(noted["colors"].values())) == ORGANS


def test_a_value_of_255_has_its_place_in_the_palette(tmp_path):
    labels = LabelSet.of({"edge": 255, "core": 1})
    image = LoadImage2D()(save(picture(4, 4), tmp_path / "a.png"))
    pred = torch.tensor([[[0, 1, 255, 0]] * 4])
    with Image.open(SaveSegmentation(tmp_path / "out", labels=labels)(pred, image.meta)) as saved:
        np.testing.assert_array_equal(np.asarray(saved), pred[0].numpy())


def test_large_values_give_16_bits(tmp_path):
    labels = LabelSet.of({"cortex": 1035, "stem": 16})
    pred = labels.label_map(torch.tensor([[[1, 0, 0, 0]] * 4, [[0, 1, 0, 1]] * 4], dtype=torch.bool))
    image = LoadImage2D()(save(picture(4, 4), tmp_path / "a.png"))
    with Image.open(SaveSegmentation(tmp_path / "out", labels=labels)(pred, image.meta)) as saved:
        np.testing.assert_array_equal(np.asarray(saved), [[1035, 16, 0, 16]] * 4)
        assert json.loads(saved.text["labels"])["cortex"] == 1035
    image = loaded(volume_file(tmp_path, shape=(4, 4, 2)))
    path = SaveSegmentation(tmp_path / "out", labels=labels)(pred[..., None].repeat(1, 1, 1, 2), image.meta)
    assert nib.load(path).get_data_dtype() == np.uint16


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_a_volume_keeps_every_part_of_its_geometry(tmp_path, name, kind):
    source = volume_file(tmp_path, name, kind=kind)
    pred = organs(7, 5, 4)
    data = {"image": loaded(source), "pred": pred}
    path = SaveSegmentationd("pred", tmp_path / "out", labels=ORGANS)(data)["saved_to"]
    saved, original = nib.load(path), nib.load(source)
    assert (type(saved), saved.get_data_dtype(), saved.shape) == (kind, np.uint8, (7, 5, 4))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), pred[0].numpy())
    np.testing.assert_array_equal(saved.affine, original.affine)
    np.testing.assert_array_equal(saved.get_qform(), original.get_qform())
    assert (int(saved.header["qform_code"]), int(saved.header["sform_code"])) == (1, 4)
    assert saved.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(saved.header.get_zooms(), original.header.get_zooms())
    (comment,) = saved.header.extensions
    assert (comment.get_code(), json.loads(comment.get_content())["labels"]["left kidney"]) == (6, [7, 9])


def test_one_file_of_several_channels_gives_one_volume(tmp_path):
    image = loaded(volume_file(tmp_path, shape=(7, 5, 4, 3)))
    saved = nib.load(SaveSegmentation(tmp_path / "out", labels=TUMOR)(torch.full((1, 7, 5, 4), 2), image.meta))
    assert (saved.shape, set(np.unique(saved.dataobj))) == ((7, 5, 4), {2})
    np.testing.assert_allclose(saved.affine, OBLIQUE, atol=1e-6)


@pytest.mark.parametrize("labels", [None, BY_RULE])
def test_a_volume_by_rule_holds_zero_and_one(tmp_path, labels):
    image, probability = loaded(volume_file(tmp_path)), torch.rand(1, 7, 5, 4)
    saved = nib.load(SaveSegmentation(tmp_path / "out", 0.3, labels)(probability, image.meta))
    assert saved.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(saved.dataobj), probability[0].numpy() >= 0.3)
    np.testing.assert_allclose(saved.affine, OBLIQUE, atol=1e-6)
    assert not (tmp_path / "out" / "labels.json").exists()
    saved = nib.load(SaveSegmentation(tmp_path / "out", None, labels)(probability, image.meta))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), probability[0].numpy())


def test_a_series_in_a_folder_has_the_affine_of_its_metadata(tmp_path):
    (tmp_path / "t1").mkdir()
    meta = {"filename_or_obj": str(tmp_path / "t1"), "file_kind": "dicom", "file_size": (7, 5, 4)}
    meta |= {"file_shape": (7, 5, 4), "file_affine": OBLIQUE}
    path = SaveSegmentation(tmp_path / "out", labels=ORGANS)(organs(7, 5, 4), meta)
    assert path.name == "t1.nii.gz"
    np.testing.assert_allclose(nib.load(path).affine, OBLIQUE, atol=1e-6)


def test_the_file_of_another_place_gives_no_geometry(tmp_path):
    image = loaded(volume_file(tmp_path))
    image.meta["file_affine"] = np.diag([2.0, 2, 2, 1])
    path = SaveSegmentation(tmp_path / "out", labels=ORGANS)(organs(7, 5, 4), image.meta)
    np.testing.assert_array_equal(nib.load(path).affine, np.diag([2.0, 2, 2, 1]))


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (1, 7, 5), (7, 5, 1, 1)])
def test_a_slice_keeps_the_axes_of_its_file(tmp_path, shape):
    data = np.random.default_rng(0).choice([0, 3, 7, 12], shape).astype(np.int16)
    nib.save(nib.Nifti1Image(data, OBLIQUE), tmp_path / "slice.nii")
    image = LoadImage2D(channels=1, scale=False)(tmp_path / "slice.nii")
    saved = nib.load(SaveSegmentation(tmp_path / "out", labels=ORGANS)(image.as_tensor(), image.meta))
    assert saved.shape == shape
    np.testing.assert_array_equal(np.asarray(saved.dataobj), data)
    probability = image.as_tensor().repeat(4, 1, 1) / 12
    saved = nib.load(SaveSegmentation(tmp_path / "out", None, ORGANS)(probability, image.meta))
    sides = (*shape, 1)[:3]
    np.testing.assert_array_equal(saved.get_fdata(), (data / 12).astype(np.float32).reshape(*sides, 1).repeat(4, -1))


def test_probabilities_of_a_volume_lie_on_a_fourth_axis(tmp_path):
    image, probability = loaded(volume_file(tmp_path)), torch.rand(3, 7, 5, 4)
    saved = nib.load(SaveSegmentation(tmp_path / "out", None, TUMOR)(probability, image.meta))
    assert (saved.shape, saved.get_data_dtype()) == ((7, 5, 4, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), probability.permute(1, 2, 3, 0).numpy())
    assert (int(saved.header["qform_code"]), int(saved.header["sform_code"])) == (1, 4)


def test_probabilities_of_a_picture_get_a_file_each(tmp_path):
    image = LoadImage2D()(save(picture(6, 8), tmp_path / "a.png"))
    probability = torch.rand(4, 6, 8)
    path = SaveSegmentation(tmp_path / "out", None, ORGANS)(probability, image.meta)
    names = [f"a_{name}.png" for name in ("background", "liver", "left_kidney", "spleen")]
    assert path == tmp_path / "out" / names[0]
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([*names, "labels.json"])
    for name, channel in zip(names, probability, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path.with_name(name))), (channel * 255).round())


def test_names_of_files_never_collide(tmp_path, caplog):
    assert file_names(["a/b", "a b", "A_B", "../..", "größe", "***"]) == [
        "a_b",
        "a_b_2",
        "A_B_3",
        "class",
        "größe",
        "class_2",
    ]
    labels = LabelSet.of({"b_c": [1, 2], "c": 2})
    saver = SaveSegmentation(tmp_path / "out", None, labels)
    for number, name in enumerate(["a", "a_b"]):  # a_b_c.png twice
        image = LoadImage2D()(save(picture(4, 4), tmp_path / "in" / f"{name}.png"))
        saver(torch.full((2, 4, 4), float(number)), image.meta)
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    assert "belongs to another input" in caplog.text


@pytest.mark.parametrize(
    ("pred", "message"),
    [
        (torch.full((1, 7, 5, 4), 9), "holds 9, which are the values of no class; .* holds 0, 3, 7, 12"),
        (torch.full((1, 7, 5, 4), 0.5), "holds 0.5"),
        (torch.zeros(4, 7, 5, 4), r"expected a label map \(1, X, Y, Z\) to save, got \(4, 7, 5, 4\)"),
        (torch.zeros(1, 7, 5), r"expected a label map"),
        (torch.zeros(1, 5, 7, 4), r"the result is \(5, 7, 4\), the input \(7, 5, 4\) \(X, Y, Z\); .*Invertd"),
        (torch.full((1, 7, 5, 4), torch.nan), "NaN"),
    ],
)
def test_bad_label_maps(tmp_path, pred, message):
    image = loaded(volume_file(tmp_path))
    with pytest.raises(ValueError, match=message):
        SaveSegmentation(tmp_path / "out", labels=ORGANS)(pred, image.meta)
    assert not (tmp_path / "out").exists()


def test_bad_probabilities_and_metadata(tmp_path):
    image = loaded(volume_file(tmp_path))
    with pytest.raises(
        ValueError, match=r"a channel for each of background, liver, left kidney, spleen \(4, X, Y, Z\)"
    ):
        SaveSegmentation(tmp_path / "out", None, ORGANS)(torch.zeros(3, 7, 5, 4), image.meta)
    del image.meta["file_affine"]
    with pytest.raises(ValueError, match="lack.*file_affine"):
        SaveSegmentation(tmp_path / "out", labels=ORGANS)(organs(7, 5, 4), image.meta)
    with pytest.raises(ValueError, match="lack"):  # of an array in memory
        SaveSegmentation(tmp_path / "out", labels=ORGANS)(organs(7, 5, 4), {"filename_or_obj": "array"})
