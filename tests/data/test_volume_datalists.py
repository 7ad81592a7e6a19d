"""Layouts of volumes, of several classes and of channel files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import (
    DatalistError,
    LabelSet,
    classification_datalists,
    dataset_channels,
    dataset_labels,
    dataset_name,
    image_datalist,
    is_demo,
    segmentation_datalists,
)
from medssm_monai.data.datalists.segmentation_layouts import detect_layout
from medssm_monai.data.readers.channels import read_channels
from medssm_monai.data.readers.label_indices import read_label_indices
from medssm_monai.data.split import main as split_main

from .builders import names, picture, save, save_pairs, truncate
from .volume_builders import SHAPE, SPACED, classes, decathlon_folder, nnunet_folder, save_volume, volume

CASES = [f"case{letter}" for letter in "abcdefgh"]


def lists_of(root, spatial_dims=3, **options):
    """As the configs call it."""
    options.setdefault("labels", dataset_labels(root, "auto", spatial_dims))
    options.setdefault("channel_names", dataset_channels(root, "auto", spatial_dims))
    return segmentation_datalists(root, spatial_dims=spatial_dims, **options)


def problems_of(root, **options):
    with pytest.raises(DatalistError) as caught:
        lists_of(root, **options)
    return {(p.kind, Path(p.path).name) for p in caught.value.problems}, str(caught.value)


def every(lists):
    return sorted((item for part in lists.values() for item in part), key=lambda item: item["name"])


def test_nnunet_groups_channels(tmp_path):
    nnunet_folder(tmp_path, CASES)
    lists = lists_of(tmp_path)
    assert [item["name"] for item in every(lists)] == CASES
    assert every(lists)[0] == {
        "image": [str(tmp_path / "imagesTr" / f"casea_000{number}.nii.gz") for number in range(2)],
        "label": str(tmp_path / "labelsTr" / "casea.nii.gz"),
        "name": "casea",
    }
    assert all(lists.values())


def test_nnunet_test_images_with_labels_are_the_test_part(tmp_path):
    nnunet_folder(tmp_path, CASES)
    nnunet_folder(tmp_path / "more", ["x", "y"])
    (tmp_path / "more" / "imagesTr").rename(tmp_path / "imagesTs")
    assert "x" not in [item["name"] for item in every(lists_of(tmp_path))]
    (tmp_path / "more" / "labelsTr").rename(tmp_path / "labelsTs")
    lists = lists_of(tmp_path)
    assert names(lists["test"]) == ["x", "y"]
    assert sorted(names(lists["training"]) + names(lists["validation"])) == CASES
    assert lists["validation"]


def test_nnunet_without_dataset_json_and_of_one_channel(tmp_path):
    nnunet_folder(tmp_path, CASES, ["CT"])
    (tmp_path / "dataset.json").unlink()
    lists = segmentation_datalists(tmp_path, spatial_dims=3, labels={"PZ": 1, "TZ": 2})
    assert every(lists)[0]["image"] == str(tmp_path / "imagesTr" / "casea_0000.nii.gz")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_nnunet_of_color_pictures(tmp_path, suffix):
    for seed, name in enumerate(CASES):
        save(picture(5, 6, seed), tmp_path / "imagesTr" / f"{name}_0000{suffix}")
        save(classes(shape=(5, 6)), tmp_path / "labelsTr" / f"{name}{suffix}")
    facts = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "file_ending": suffix,
    }
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    (tmp_path / "imagesTr" / "notes_0000.jpg").write_bytes(b"no")
    items = every(lists_of(tmp_path, 2))
    assert [item["image"] for item in items] == [str(tmp_path / "imagesTr" / f"{n}_0000{suffix}") for n in CASES]


def test_nnunets_missing_and_surplus_channels_are_named_for_every_case(tmp_path):
    nnunet_folder(tmp_path, CASES)
    images = tmp_path / "imagesTr"
    (images / "caseb_0001.nii.gz").unlink()
    (images / "casec_0000.nii.gz").unlink()
    save_volume(volume(), images / "cased_0002.nii.gz")
    save_volume(volume(), images / "casee.nii.gz")
    (tmp_path / "labelsTr" / "casef.nii.gz").unlink()
    found, message = problems_of(tmp_path)
    assert found == {
        ("missing channels", "caseb"),
        ("missing channels", "casec"),
        ("more channels than named", "cased"),
        ("file without channel number", "casee.nii.gz"),
        ("image without mask", "casef_0000.nii.gz"),
    }
    assert "no _0001 (ADC)" in message
    assert "no _0000 (T2)" in message
    assert "see the detail" not in message


def test_a_file_ending_that_is_not_read(tmp_path):
    nnunet_folder(tmp_path, CASES)
    text = (tmp_path / "dataset.json").read_text()
    (tmp_path / "dataset.json").write_text(text.replace(".nii.gz", ".nrrd"))
    with pytest.raises(DatalistError, match=r"\.nrrd are not read here; convert"):
        lists_of(tmp_path)


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 2)])
def test_the_decathlon_lists_its_pairs(tmp_path, shape):
    decathlon_folder(tmp_path, CASES, shape)
    save_volume(volume(), tmp_path / "imagesTr" / "._casea.nii.gz")
    assert detect_layout(tmp_path) == "decathlon"
    items = every(lists_of(tmp_path))
    assert items[0] == {
        "image": str(tmp_path / "imagesTr" / "casea.nii.gz"),
        "label": str(tmp_path / "labelsTr" / "casea.nii.gz"),
        "name": "casea",
    }
    (tmp_path / "imagesTr" / "caseb.nii.gz").unlink()
    (tmp_path / "labelsTr" / "casec.nii.gz").unlink()
    assert problems_of(tmp_path)[0] == {("file not found", "caseb.nii.gz"), ("file not found", "casec.nii.gz")}


def test_decathlon_keys_with_numbered_files_are_nnunet_1(tmp_path):
    decathlon_folder(tmp_path, CASES)
    for path in sorted((tmp_path / "imagesTr").iterdir()):
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    assert detect_layout(tmp_path) == "nnunet"
    assert [item["name"] for item in every(lists_of(tmp_path))] == CASES


def brats(root, separator="_"):
    for seed, name in enumerate(CASES):
        for number, channel in enumerate(("t1", "ce_t1", "flair")):
            save_volume(volume(seed + number), root / name / f"{name}{separator}{channel}.nii.gz")
        save_volume(classes((1, 2)), root / name / f"{name}{separator}seg.nii.gz")
    return root


@pytest.mark.parametrize("separator", ["_", "-"])
def test_a_folder_for_each_case(tmp_path, separator):
    brats(tmp_path, separator)
    assert detect_layout(tmp_path) == "cases"
    options = {"labels": {"a": 1, "b": 2}, "channel_names": ["FLAIR", "t1", "ce_t1"]}
    items = every(lists_of(tmp_path, **options))
    ends = [Path(file).name.removeprefix("casea" + separator) for file in items[0]["image"]]
    assert ends == ["flair.nii.gz", "t1.nii.gz", "ce_t1.nii.gz"]
    assert Path(items[0]["label"]).name == f"casea{separator}seg.nii.gz"
    for name, channel in (("b", "t1"), ("c", "flair"), ("d", "seg")):
        (tmp_path / f"case{name}" / f"case{name}{separator}{channel}.nii.gz").unlink()
    found, message = problems_of(tmp_path, **options)
    assert {kind for kind, _ in found} == {"missing channels", "image without mask"}
    assert {name for kind, name in found if kind == "missing channels"} == {"caseb", "casec"}
    assert "no FLAIR" in message


def test_a_folder_for_each_case_needs_names_of_channels(tmp_path):
    with pytest.raises(DatalistError, match=r"needs the names of the channels.*flair, seg, t1"):
        segmentation_datalists(brats(tmp_path), spatial_dims=3, labels={"a": 1, "b": 2})


def test_plain_folders_of_volumes_and_of_channel_files(tmp_path):
    for seed, name in enumerate(CASES):
        save_volume(volume(seed), tmp_path / "one" / "images" / f"{name}.nii.gz")
        save_volume(classes((1,)), tmp_path / "one" / "masks" / f"{name}.nii.gz")
        for channel in ("t1", "t2"):
            save_volume(volume(seed), tmp_path / "two" / "images" / f"{name}_{channel}.nii.gz")
        save_volume(classes((1,)), tmp_path / "two" / "labels" / f"{name}_segmentation.nii.gz")
    items = every(segmentation_datalists(tmp_path / "one", spatial_dims=3))
    assert [item["name"] for item in items] == CASES
    items = every(segmentation_datalists(tmp_path / "two", spatial_dims=3, channel_names=["t2", "t1"]))
    assert [Path(file).name for file in items[0]["image"]] == ["casea_t2.nii.gz", "casea_t1.nii.gz"]
    (tmp_path / "two" / "images" / "casec_t1.nii.gz").unlink()
    found, _ = problems_of(tmp_path / "two", channel_names=["t2", "t1"])
    assert found == {("missing channels", "casec")}


def test_a_split_file_and_groups_with_channel_files(tmp_path):
    nnunet_folder(tmp_path, CASES)
    split = {"training": CASES[:5], "validation": CASES[5:7], "test": CASES[7:]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert {
        part: names(items) for part, items in lists_of(tmp_path, split_file=tmp_path / "split.json").items()
    } == split
    rows = [f"{name},{number // 2}" for number, name in enumerate(CASES)]
    (tmp_path / "groups.csv").write_text("\n".join(["image,patient", *rows]))
    parts = lists_of(tmp_path, group_column="patient")
    owners = [{item["group"] for item in items} for items in parts.values()]
    assert not owners[0] & owners[1]
    assert not owners[0] & owners[2]


def test_split_files_of_these_layouts_are_written(tmp_path):
    root = brats(tmp_path / "data")
    split_main([str(root), "-o", str(tmp_path / "split.json"), "--channel_names", "t1", "flair"])
    written = json.loads((tmp_path / "split.json").read_text())
    assert sorted(written["training"] + written["validation"] + written["test"]) == CASES


def test_names_in_both_parts_are_no_names_for_a_split_file(tmp_path):
    nnunet_folder(tmp_path, CASES)
    for sub in ("images", "labels"):
        (tmp_path / f"{sub}Ts").mkdir()
        for path in (tmp_path / f"{sub}Tr").glob("casea*"):
            (tmp_path / f"{sub}Ts" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "split.json").write_text(json.dumps({"training": CASES[:6], "validation": CASES[6:]}))
    found, _ = problems_of(tmp_path, split_file=tmp_path / "split.json")
    assert found == {("two files with one name", "casea_0000.nii.gz")}


@pytest.mark.parametrize(("word", "spatial_dims"), [("demo", 3), ("demo_structures", 3), ("demo_structures", 2)])
def test_the_demo_set_of_several_classes(tmp_path, caplog, word, spatial_dims):
    with caplog.at_level(logging.WARNING):
        lists = lists_of(word, spatial_dims, demo_dir=tmp_path, demo_counts=(3, 1, 2), check="full")
    assert [len(items) for items in lists.values()] == [3, 1, 2]
    assert f"{word!r}: synthetic" in caplog.text
    assert is_demo(word)
    assert dataset_name(word) == "demo"


def test_the_demo_set_of_several_classes_is_for_segmentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="demo_structures"):
        classification_datalists("demo_structures", demo_dir=tmp_path)


# ---- checks ----------------------------------------------------------------------------------------------------------


def test_mixed_orientations_between_cases_are_fine(tmp_path):
    nnunet_folder(tmp_path, CASES)
    turned = np.array([[0, -2.0, 0, 9], [1.5, 0, 0, 0], [0, 0, -3, 0], [0, 0, 0, 1]])
    for name in ("casea_0000", "casea_0001"):
        save_volume(volume(), tmp_path / "imagesTr" / f"{name}.nii.gz", turned)
    save_volume(classes(), tmp_path / "labelsTr" / "casea.nii.gz", turned)
    assert len(every(lists_of(tmp_path))) == len(CASES)


def test_every_offender_of_volumes_is_in_one_error(tmp_path):
    nnunet_folder(tmp_path, [*CASES, "casei", "casej"])
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    truncate(images / "casea_0001.nii.gz")
    save_volume(volume(shape=(6, 5, 3)), images / "caseb_0001.nii.gz")
    save_volume(volume(), images / "casec_0001.nii.gz", SPACED + np.eye(4)[:, [3, 0, 1, 2]] * 0.1)
    broken = volume()
    broken[0, 0, 0] = np.nan
    save_volume(broken, images / "cased_0000.nii.gz")
    save_volume(classes((1, 7)), labels / "casee.nii.gz")
    save_volume(classes().astype(np.float32) / 2, labels / "casef.nii.gz")
    save_volume(volume(shape=(6, 5, 1)), images / "caseg_0000.nii.gz")
    save_volume(volume(shape=(*SHAPE, 2)), images / "caseh_0000.nii.gz")
    (labels / "casei.nii.gz").write_bytes(b"broken")
    save_volume(classes(), labels / "casej.nii.gz", SPACED @ np.diag([-1, 1, 1, 1]))
    found, message = problems_of(tmp_path)
    assert found == {
        ("unreadable file", "casea_0001.nii.gz"),
        ("unequal sizes", "caseb_0000.nii.gz"),
        ("unequal geometry", "casec_0000.nii.gz"),
        ("NaN or infinite values", "cased_0000.nii.gz"),
        ("unknown labels", "casee.nii.gz"),
        ("no label map", "casef.nii.gz"),
        ("picture among volumes", "caseg_0000.nii.gz"),
        ("unequal channels", "caseh_0000.nii.gz"),
        ("unreadable file", "casei.nii.gz"),
        ("unequal geometry", "casej_0000.nii.gz"),
    }
    assert "values 7 (20 times), which labels do not name; known are background 0; PZ 1; TZ 2" in message
    assert "image 6 x 5 x 4, channel file 6 x 5 x 3" in message
    assert "orientation RAS and LAS" in message
    headers, _ = problems_of(tmp_path, check="header")
    assert {kind for kind, _ in headers} == {
        "unequal sizes",
        "unequal geometry",
        "picture among volumes",
        "unequal channels",
        "unreadable file",
    }
    assert len(every(lists_of(tmp_path, check=False))) == 10


@pytest.mark.parametrize(
    ("shift", "fine"), [(0.0005, True), (0.002, False), (0.4, False)]
)  # the smallest voxel side is 1 mm
def test_places_agree_to_a_thousandth_of_a_voxel(tmp_path, shift, fine):
    nnunet_folder(tmp_path, CASES)
    moved = SPACED.copy()
    moved[0, 3] += shift
    save_volume(classes(), tmp_path / "labelsTr" / "casea.nii.gz", moved)
    if fine:
        assert lists_of(tmp_path)
    else:
        found, message = problems_of(tmp_path)
        assert found == {("unequal geometry", "casea_0000.nii.gz")}
        assert "mm apart" in message


def patch_header(path, **fields):
    """Change header fields of an uncompressed NIfTI file, which nibabel would correct."""
    import nibabel as nib

    content = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for key, value in fields.items():
        header[key] = value
    content[:348] = header.binaryblock
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("pixdim", [0.0, -2.0, np.nan])
def test_no_spacing(tmp_path, pixdim):
    for seed, name in enumerate(CASES):
        save_volume(volume(seed), tmp_path / "images" / f"{name}.nii")
        save_volume(classes((1,)), tmp_path / "masks" / f"{name}.nii")
    sides = [1, 1, 2, pixdim, 0, 0, 0, 0]
    patch_header(tmp_path / "images" / "casec.nii", pixdim=sides, qform_code=0, sform_code=0)
    found, message = problems_of(tmp_path)
    assert ("no spacing", "casec.nii") in found
    assert f"spacing 1 x 2 x {pixdim:g}" in message


def test_a_spacing_without_a_place_is_used_and_said_once(tmp_path, caplog):
    for seed, name in enumerate(CASES):
        for folder, values in (("images", volume(seed)), ("masks", classes((1,)))):
            patch_header(save_volume(values, tmp_path / folder / f"{name}.nii"), qform_code=0, sform_code=0)
    with caplog.at_level(logging.WARNING):
        assert len(every(lists_of(tmp_path))) == len(CASES)
    assert [record.message[:12] for record in caplog.records if "qform" in record.message] == ["8 NIfTI file"]


def test_other_numbers_of_channels(tmp_path):
    decathlon_folder(tmp_path, CASES, (*SHAPE, 2))
    save_volume(volume(), tmp_path / "imagesTr" / "caseb.nii.gz")
    found, message = problems_of(tmp_path)
    assert found == {("unequal channels", "caseb.nii.gz")}
    assert "1 channel, expected 2 (M0, M1)" in message
    found, message = problems_of(tmp_path, channel_names=None)
    assert found == {("unequal channels", "caseb.nii.gz")}
    assert "expected 2, as 7 of the images have" in message
    found, _ = problems_of(tmp_path, channel_names=["only"])
    assert len(found) == 7


def test_the_wrong_number_of_dimensions_says_what_to_change(tmp_path):
    save_pairs(tmp_path / "pictures" / "images", tmp_path / "pictures" / "masks", CASES)
    found, message = problems_of(tmp_path / "pictures")
    assert {kind for kind, _ in found} == {"picture among volumes"}
    assert len(found) == len(CASES)
    assert "spatial_dims 2" in message
    for labels in (None, {"a": 1, "b": 2}):
        nnunet_folder(tmp_path / "volumes", CASES, ["CT"])
        found, message = problems_of(tmp_path / "volumes", spatial_dims=2, labels=labels, channel_names=None)
        assert {kind for kind, _ in found} == {"volume among pictures"}
        assert "spatial_dims 3" in message
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3"):
        segmentation_datalists(tmp_path, spatial_dims=4)


def test_empty_parts_and_classes_that_no_label_has(tmp_path, caplog):
    nnunet_folder(tmp_path, CASES)
    split = {"training": CASES[:5], "validation": CASES[5:]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    for name in CASES[:5]:
        save_volume(classes((2,)), tmp_path / "labelsTr" / f"{name}.nii.gz")
    save_volume(classes(()), tmp_path / "labelsTr" / "casea.nii.gz")
    with caplog.at_level(logging.WARNING):
        lists_of(tmp_path, split_file=tmp_path / "split.json")
    assert "no label of the training part has PZ" in caplog.text
    for name in CASES[5:]:
        save_volume(classes(()), tmp_path / "labelsTr" / f"{name}.nii.gz")
    found, message = problems_of(tmp_path, split_file=tmp_path / "split.json")
    assert found == {("all masks empty", "labelsTr")}
    assert "validation part, 3 masks, largest value 0" in message


@pytest.mark.parametrize(
    ("values", "foreground", "fine"),
    [
        ((1,), "auto", True),
        ((255,), "auto", True),
        ((2,), "auto", True),
        ((1, 2), "auto", False),
        ((1, 2), "nonzero", True),
        ((2,), [2], True),
    ],
)
def test_one_class_of_volumes_by_rule(tmp_path, values, foreground, fine):
    for seed, name in enumerate(CASES):
        save_volume(volume(seed), tmp_path / "images" / f"{name}.nii.gz")
        save_volume(classes(values), tmp_path / "masks" / f"{name}.nii.gz")
    if fine:
        assert lists_of(tmp_path, foreground=foreground)
    else:
        found, message = problems_of(tmp_path, foreground=foreground)
        assert {kind for kind, _ in found} == {"unclear mask"}
        assert "values 0, 1, 2" in message


def test_one_class_of_volumes_has_one_value_in_all_masks(tmp_path):
    for seed, name in enumerate(CASES):
        save_volume(volume(seed), tmp_path / "images" / f"{name}.nii.gz")
        save_volume(classes((255 if seed == 2 else 1,)), tmp_path / "masks" / f"{name}.nii.gz")
    found, message = problems_of(tmp_path)
    assert {kind for kind, _ in found} == {"labels of several values"}
    assert "foreground 255)" in message
    assert "foreground 1; and 6 more mask(s) like it" in message
    assert lists_of(tmp_path, foreground="nonzero")


def test_the_loaders_take_what_the_check_takes(tmp_path):
    nnunet_folder(tmp_path, CASES)
    labels = LabelSet.of(dataset_labels(tmp_path))
    for item in every(lists_of(tmp_path)):
        image = read_channels(item["image"], 2)
        indices, affine = read_label_indices(item["label"], labels, 3)
        assert image.shape[1:] == indices.shape[1:] == SHAPE
        assert np.allclose(image.affine, affine)


def test_masks_of_several_classes_in_pictures(tmp_path):
    save_pairs(tmp_path / "images", tmp_path / "masks", CASES)
    labels = {"a": 1, "b": 2}
    for name in CASES:
        indexed = Image.fromarray(classes(shape=(12, 16)), mode="P")
        indexed.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
        indexed.save(tmp_path / "masks" / f"{name}.png")
    assert len(every(lists_of(tmp_path, 2, labels=labels))) == len(CASES)
    colors = np.zeros((12, 16, 3), np.uint8)
    colors[2:5, 2:5] = 200, 0, 0
    save(colors, tmp_path / "masks" / "casea.png")
    save(np.repeat(classes(shape=(12, 16))[..., None], 3, axis=2), tmp_path / "masks" / "caseb.png")
    save(classes((3,), (12, 16)), tmp_path / "masks" / "casec.png")
    save(classes(shape=(12, 15)), tmp_path / "masks" / "cased.png")
    save(picture(), tmp_path / "images" / "casef.png")
    found, message = problems_of(tmp_path, spatial_dims=2, labels=labels)
    assert found == {
        ("no label map", "casea.png"),
        ("unknown labels", "casec.png"),
        ("unequal sizes", "cased.png"),
    }
    assert "holds colors" in message


def test_values_that_nobody_has_labeled_are_known(tmp_path):
    nnunet_folder(tmp_path, CASES)
    for name in CASES:
        save_volume(classes((1, 2, 3)), tmp_path / "labelsTr" / f"{name}.nii.gz")
    assert {kind for kind, _ in problems_of(tmp_path)[0]} == {"unknown labels"}
    labels = {"PZ": 1, "TZ": 2, "ignore": 3}
    assert lists_of(tmp_path, labels=labels)
    save_volume(np.full((6, 5, 4), 3, np.uint8), tmp_path / "labelsTr" / "caseb.nii.gz")
    assert problems_of(tmp_path, labels=labels)[0] == {("nothing labeled", "caseb.nii.gz")}


def test_a_picture_that_viewers_turn_is_told(tmp_path, caplog):
    save_pairs(tmp_path / "images", tmp_path / "masks", CASES, suffix=".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in CASES:
        save(classes(shape=(12, 16)), tmp_path / "masks" / f"{name}.png")
    for name in CASES[:2]:
        Image.fromarray(picture()).save(tmp_path / "images" / f"{name}.jpg", exif=exif)
    save(classes(shape=(16, 12)), tmp_path / "masks" / "caseb.png")
    found, message = problems_of(tmp_path, spatial_dims=2, labels={"a": 1, "b": 2})
    assert found == {("unequal sizes", "caseb.jpg")}
    assert "EXIF rotation, which is not applied" in message
    assert "EXIF orientation of 2 image(s)" in caplog.text


def test_channel_files_of_pictures_are_refused(tmp_path):
    for name in CASES:
        for channel in ("t1", "t2"):
            save(picture()[..., 0], tmp_path / "images" / f"{name}_{channel}.png")
        save(classes(shape=(12, 16)), tmp_path / "masks" / f"{name}.png")
    options = {"labels": {"a": 1, "b": 2}, "channel_names": ["t1", "t2"]}
    found, message = problems_of(tmp_path, spatial_dims=2, **options)
    assert found == {("channels in several pictures", f"{name}_t1.png") for name in CASES}
    assert "merge the files of each into one RGB file" in message
    with pytest.raises(DatalistError, match="channels in several pictures"):
        image_datalist(tmp_path / "images", 2, ["t1", "t2"])
