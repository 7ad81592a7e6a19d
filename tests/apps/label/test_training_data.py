"""Data folders made from saved labels: the bundles' own datalists read them back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medssm_monai.apps.label.training_data import class_of, write_classes, write_masks, write_pairs
from medssm_monai.data import classification_datalists, fusion_datalists, segmentation_datalists


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
