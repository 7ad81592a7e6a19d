"""Data folders made from saved labels: the bundles' own datalists read them back."""

from __future__ import annotations

import json

import itk
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.apps.label.training_data import (
    class_of,
    other_channels,
    unusable,
    write_classes,
    write_masks,
    write_pairs,
    write_volumes,
)
from medssm_monai.data import classification_datalists, fusion_datalists, segmentation_datalists
from medssm_monai.data.labels import LabelSet
from medssm_monai.transforms.label_files import label_picture


@pytest.fixture
def picture(tmp_path):
    """Write a picture into a folder: ``picture("studies", "a.png")``."""

    def write(folder, name):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(len(name)).integers(0, 2, (20, 24), dtype=np.uint8) * 255
        Image.fromarray(values).save(path)
        return path

    return write


@pytest.mark.parametrize(("count", "share", "validation"), [(2, 0.2, [1]), (10, 0.2, [4, 9]), (5, 0.9, [1, 3])])
def test_masks_are_read_back_with_their_split(tmp_path, picture, count, share, validation):
    names = [f"case {i}" for i in range(count)]
    labeled = {n: (picture("studies", f"{n}.png"), picture("labels", f"{n}.png")) for n in names}
    split = write_masks(tmp_path / "run" / "data", labeled, share)
    lists = segmentation_datalists(tmp_path / "run" / "data", layout="plain", split_file=split)
    assert [item["name"] for item in lists["validation"]] == [names[i] for i in validation]
    assert len(lists["training"]) == count - len(validation)
    assert not lists["test"]


CLASSES = LabelSet.of({"liver": 3, "spleen": [7, 9]})


def test_label_maps_of_pictures_keep_their_numbers(tmp_path, picture):
    """Indexed PNG, as the inference writes it, NIfTI and NRRD, as editors save it."""
    values = np.array([0, 3, 7, 9], np.uint8)[np.random.default_rng(0).integers(0, 4, (20, 24))]
    (tmp_path / "labels").mkdir()
    map_of_classes, text = label_picture(np.where(values == 9, 7, values), CLASSES)
    map_of_classes.save(tmp_path / "labels" / "a.png", pnginfo=text)
    nib.save(nib.Nifti1Image(values.T[..., None], np.eye(4)), tmp_path / "labels" / "b.nii.gz")
    itk.imwrite(itk.image_from_array(values[None]), str(tmp_path / "labels" / "c.nrrd"))
    labeled = {
        file.name[0]: (picture("studies", f"{file.name[0]}.png"), file) for file in (tmp_path / "labels").iterdir()
    }
    folder = tmp_path / "run" / "data"
    split = write_masks(folder, labeled, 0.4, CLASSES)
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert facts["labels"] == {
        "background": 0,
        "liver": 3,
        "spleen": [7, 9],
    }
    assert sorted(sum(json.loads(split.read_text()).values(), [])) == ["a", "b", "c"]
    for name, expected in {"a": np.where(values == 9, 7, values), "b": values, "c": values}.items():
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "masks" / f"{name}.png")), expected)


def test_every_label_with_unknown_numbers_is_named(tmp_path, picture):
    labeled = {name: (picture("studies", f"{name}.png"), tmp_path / f"{name}.png") for name in "abc"}
    for name, value in {"a": 3, "b": 5, "c": 6}.items():
        Image.fromarray(np.full((20, 24), value, np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"label of b: values 5 \(480 times\).*label of c: values 6 .*Correct these"):
        write_masks(tmp_path / "run" / "data", labeled, 0.4, CLASSES)


@pytest.mark.parametrize("form", ["files", "one file"])
def test_volumes_are_laid_out_as_nnunet_has_them(tmp_path, form):
    labeled, values, shape = {}, {}, (6, 5, 4)
    for number, name in enumerate(["p1", "p2", "p3"]):
        values[name] = np.random.default_rng(number).random((2, *shape), dtype=np.float32)
        files = [tmp_path / f"{name}_0000.nii", tmp_path / f"{name}_0001.nrrd"]
        nib.save(nib.Nifti1Image(values[name][0], np.diag([2, 3, 4, 1.0])), files[0])
        itk.imwrite(itk.image_from_array(np.ascontiguousarray(values[name][1].T)), str(files[1]))
        if form == "one file":
            files = [tmp_path / f"{name}.nii.gz"]
            nib.save(nib.Nifti1Image(np.moveaxis(values[name], 0, -1), np.diag([2, 3, 4, 1.0])), files[0])
        label = np.array([0, 3, 9], np.int16)[np.random.default_rng(number).integers(0, 3, shape)]
        nib.save(nib.Nifti1Image(label, np.diag([2, 3, 4, 1.0])), tmp_path / f"{name}_label.nii")
        labeled[name] = (files, tmp_path / f"{name}_label.nii")
    folder = tmp_path / "run" / "data"
    split = json.loads(write_volumes(folder, labeled, 0.3, CLASSES, ["t1", "flair"]).read_text())
    assert split == {"training": ["p1", "p2"], "validation": ["p3"]}
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["channel_names"] == {"0": "t1", "1": "flair"}
    assert (facts["labels"], facts["file_ending"]) == ({"background": 0, "liver": 3, "spleen": [7, 9]}, ".nii.gz")
    for name, channels in values.items():
        for number, channel in enumerate(channels):
            image = nib.load(folder / "imagesTr" / f"{name}_{number:04d}.nii.gz")
            np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), channel)
        label = nib.load(folder / "labelsTr" / f"{name}.nii.gz")
        np.testing.assert_array_equal(label.get_fdata(), nib.load(labeled[name][1]).get_fdata())
        np.testing.assert_array_equal(label.affine, np.diag([2, 3, 4, 1]))
    with pytest.raises(ValueError, match=r"expected \(X, Y, Z, 3\)|2 channels, expected 3: a, b, c"):
        write_volumes(tmp_path / "other", labeled, 0.3, CLASSES, ["a", "b", "c"])


def test_labels_of_pictures_are_not_for_a_model_of_volumes_nor_the_reverse(tmp_path, picture):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "v.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 1), np.uint8), np.eye(4)), tmp_path / "s.nii.gz")
    (tmp_path / "d.nii.gz").write_bytes(b"damaged")
    labels = {"v": tmp_path / "v.nii.gz", "p": picture("labels", "p.png"), "j": tmp_path / "j.json"}
    slices = {"s": tmp_path / "s.nii.gz"}
    assert set(unusable("segmentation", {**labels, **slices}, volumes=True)) == {"p", "j", "s"}
    damaged = {"d": tmp_path / "d.nii.gz"}  # its reader names it
    assert set(unusable("segmentation", {**labels, **slices, **damaged})) == {"v", "j"}


def test_volumes_of_other_channels_are_for_another_model(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 2), np.uint8), np.eye(4)), tmp_path / "two.nii")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "one.nii.gz")
    itk.imwrite(itk.image_from_array(np.zeros((6, 5, 4), np.uint8)), str(tmp_path / "one.nrrd"))
    itk.imwrite(itk.image_from_array(np.zeros((6, 5, 4, 2), np.uint8), is_vector=True), str(tmp_path / "two.nrrd"))
    (tmp_path / "damaged.nii.gz").write_bytes(b"damaged")
    images = {path.name: path for path in tmp_path.iterdir()}
    found = other_channels(images, 2)
    assert found == dict.fromkeys(["one.nii.gz", "one.nrrd"], "an image of 1 channel(s); the model takes 2")
    assert set(other_channels(images, 1)) == {"two.nii", "two.nrrd"}


def test_classes_keep_the_order_of_the_weights(tmp_path, picture):
    images = {f"{kind}{i}": (picture("studies", f"{kind}{i}.png"), kind) for kind in ("b", "a", "c") for i in range(4)}
    split, classes = write_classes(tmp_path / "run" / "data", images, ("c", "b", "a"), 0.25)
    assert classes == ["c", "b", "a"]
    lists = classification_datalists(
        tmp_path / "run" / "data", layout="folders", class_names=classes, split_file=split, duplicates="ignore"
    )
    assert lists.counts("training") == [3, 3, 3]
    assert lists.counts("validation") == [1, 1, 1]
    assert {item["name"].split("/")[0]: item["label"] for item in lists["training"]} == {"c": 0, "b": 1, "a": 2}
    assert write_classes(tmp_path / "new" / "data", images, ("a", "b"), 0.25)[1] == ["a", "b", "c"]


def test_pairs_are_read_back(tmp_path, picture):
    names = [f"p{i}" for i in range(5)]
    pairs = {n: (picture("studies", f"{n}_MRI.png"), picture("studies", f"{n}_CT.png")) for n in names}
    split = write_pairs(tmp_path / "run" / "data", pairs, ("_MRI", "_CT"), 0.2)
    lists = fusion_datalists(tmp_path / "run" / "data", ("_MRI", "_CT"), split_file=split)
    assert (len(lists["training"]), len(lists["validation"])) == (4, 1)


def test_studies_that_are_links_to_files_of_one_name_stay_as_they_are(tmp_path, picture):
    """MONAI Label hands over what its links lead to: ``case1_MRI.png`` may be ``archive/1/MRI.png``."""
    pairs = {f"p{i}": (picture(f"archive/{i}", "MRI.png"), picture(f"archive/{i}", "CT.png")) for i in range(2)}
    files = [file for pair in pairs.values() for file in pair]
    for number, file in enumerate(files):
        Image.new("L", (20, 24), number).save(file)
    before = [file.read_bytes() for file in files]
    split = write_pairs(tmp_path / "run" / "pairs", pairs, ("_MRI", "_CT"), 0.5)
    lists = fusion_datalists(tmp_path / "run" / "pairs", ("_MRI", "_CT"), split_file=split)
    assert (len(lists["training"]), len(lists["validation"])) == (1, 1)
    assert [file.read_bytes() for file in files] == before
    assert (tmp_path / "run/pairs/p1_CT.png").resolve() == files[3]


def test_a_link_is_never_written_through(tmp_path, picture):
    image = picture("studies", "a.png")
    before = image.read_bytes()
    labeled = {name: (image, picture("labels", f"{name}.png")) for name in ("a", "b")}
    write_masks(tmp_path / "run" / "data", labeled, 0.5)
    with pytest.raises(FileExistsError, match="rename one of them"):
        write_masks(tmp_path / "run" / "data", labeled, 0.5)
    assert image.read_bytes() == before


def test_too_few_labels_are_counted(tmp_path, picture):
    one = {"a": (picture("studies", "a.png"), picture("labels", "a.png"))}
    with pytest.raises(ValueError, match=r"1 image\(s\) with a saved mask; training needs two or more"):
        write_masks(tmp_path / "data", one, 0.2)
    with pytest.raises(ValueError, match="val_split must lie between 0 and 1, got 1.5"):
        write_masks(tmp_path / "data", one, 1.5)
    two = {n: (picture("studies", f"{n}.png"), "ring") for n in "ab"}
    with pytest.raises(ValueError, match=r"labels of \['ring'\] only"):
        write_classes(tmp_path / "data", two, (), 0.2)
    with pytest.raises(ValueError, match=r"0 image\(s\) labeled 'smooth'"):
        write_classes(tmp_path / "data", two, ("ring", "smooth"), 0.2)
    with pytest.raises(ValueError, match=r"0 complete pair\(s\)"):
        write_pairs(tmp_path / "data", {}, ("_a", "_b"), 0.2)


def test_class_of_a_label_file(tmp_path):
    path = tmp_path / "case.json"
    path.write_text(json.dumps({"class": "pneumonia", "reader": 3}))
    assert class_of(path) == "pneumonia"


@pytest.mark.parametrize(
    "text",
    [
        "pneumonia",
        "[]",
        '"ring"',
        "{}",
        '{"class": 3}',
        '{"class": " "}',
        '{"class": "../a"}',
        '{"class": "."}',
        '{"class": "$exit(3)"}',
        '{"class": "@network"}',
        '{"class": "%secret.json"}',
    ],
)
def test_label_files_without_a_class(tmp_path, text):
    (tmp_path / "case.json").write_text(text)
    with pytest.raises(ValueError, match=r"label case.json: .*expected \{'class': NAME\}"):
        class_of(tmp_path / "case.json")
