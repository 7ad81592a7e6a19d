"""Layouts: every public folder layout gives the pairs and the split its documentation promises."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from medssm_monai.data import segmentation_datalists

from .builders import names, picture, save, save_pairs, square_mask


def test_frames_of_one_series_are_cut_in_contiguous_blocks_and_said(tmp_path, caplog):
    save_pairs(tmp_path / "images", tmp_path / "masks", [f"frame{i}" for i in range(1, 21)])
    with caplog.at_level(logging.INFO):
        lists = segmentation_datalists(tmp_path)
    assert names(lists["training"]) == [f"frame{i}" for i in range(1, 15)]
    assert names(lists["validation"]) == ["frame15", "frame16", "frame17"]
    assert names(lists["test"]) == ["frame18", "frame19", "frame20"]
    assert "contiguous blocks 70/15/15" in caplog.text
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "frame1 ... frame20" in warning and "--split random" in warning


@pytest.mark.parametrize("image_folder", ["images", "image", "Images"])
@pytest.mark.parametrize("mask_folder", ["masks", "mask", "labels", "Label"])
@pytest.mark.parametrize("ending", ["", "_segmentation", "_mask", "_Segmentation"])
def test_plain_layout_takes_the_usual_names(tmp_path, image_folder, mask_folder, ending):
    save_pairs(tmp_path / image_folder, tmp_path / mask_folder, list("abcdefgh"), ending, suffix=".JPG")
    item = segmentation_datalists(tmp_path, split="by_name")["training"][0]
    assert set(item) == {"image", "label", "name"}
    assert item["name"] == "a"
    assert Path(item["image"]).name == "a.JPG"
    assert Path(item["label"]).name == f"a{ending}.png"


def test_an_image_whose_own_name_has_a_mask_ending_is_matched_by_equal_stem(tmp_path):
    save_pairs(tmp_path / "images", tmp_path / "masks", [f"{c}_mask" for c in "abcd"])
    assert names(segmentation_datalists(tmp_path, split="by_name")["training"]) == ["a_mask", "b_mask"]


def test_unusual_names_and_stray_files_do_no_harm(tmp_path):
    odd = ["läsion 1", "病変 2", "c.v2", "d", "e", "f", "g", "h"]
    save_pairs(tmp_path / "images", tmp_path / "masks", odd)
    for folder in ("images", "masks"):
        for stray in (".DS_Store", "Thumbs.db", "._d.png", "notes.txt"):
            (tmp_path / folder / stray).write_bytes(b"stray")
    save(picture(), tmp_path / "images" / "d_superpixels.png")
    lists = segmentation_datalists(tmp_path)
    assert sorted(sum((names(part) for part in lists.values()), [])) == sorted(odd)


def test_pranet_layout(tmp_path):
    stills, frames = [f"cju{i:02d}" for i in range(20)], [str(i) for i in range(1, 31)]
    save_pairs(tmp_path / "TrainDataset" / "image", tmp_path / "TrainDataset" / "mask", stills + frames)
    for dataset in ("CVC-300", "Kvasir"):
        save_pairs(tmp_path / "TestDataset" / dataset / "images", tmp_path / "TestDataset" / dataset / "masks", ["1"])
    lists = segmentation_datalists(tmp_path)
    assert names(lists["validation"]) == ["cju00", "cju10", "28", "29", "30"]
    assert len(lists["training"]) == 45
    assert not set(names(lists["training"])) & set(names(lists["validation"]))
    assert [(item["dataset"], item["name"]) for item in lists["test"]] == [("CVC-300", "1"), ("Kvasir", "1")]


@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [
        ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth", "_segmentation"),
        ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth_256", "_segmentation"),
        ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth", "_segmentation"),
    ],
)
@pytest.mark.parametrize("held_out", ["Validation", "Test"])
def test_isic_layout(tmp_path, images, masks, ending, held_out):
    training = [f"ISIC_{i:07d}" for i in range(20)]
    save_pairs(tmp_path / images.format("Training"), tmp_path / masks.format("Training"), training, ending, ".jpg")
    save_pairs(tmp_path / images.format(held_out), tmp_path / masks.format(held_out), ["ISIC_0000099"], ending, ".jpg")
    lists = segmentation_datalists(tmp_path)
    assert names(lists["validation"]) == ["ISIC_0000000", "ISIC_0000010"]
    assert len(lists["training"]) == 18
    assert names(lists["test"]) == ["ISIC_0000099"]


def test_isic_layout_with_all_three_official_sets_uses_them(tmp_path):
    for part, name in (("Training", "a"), ("Validation", "b"), ("Test_v2", "c")):
        folders = tmp_path / f"ISIC-2017_{part}_Data", tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth"
        save_pairs(*folders, [name], "_segmentation", ".jpg")
    lists = segmentation_datalists(tmp_path)
    assert {part: names(items) for part, items in lists.items()} == {
        "training": ["a"],
        "validation": ["b"],
        "test": ["c"],
    }


def test_only_the_required_parts_must_be_there(tmp_path):
    dataset = tmp_path / "TestDataset" / "ETIS"
    save_pairs(dataset / "images", dataset / "masks", ["1", "2"])
    assert len(segmentation_datalists(tmp_path, require=("test",))["test"]) == 2
    with pytest.raises(ValueError, match=r"empty part \(2\)") as caught:
        segmentation_datalists(tmp_path)
    assert "training" in str(caught.value)
    assert "validation" in str(caught.value)


def test_a_mask_without_image_is_left_out_with_a_warning(tmp_path, caplog):
    save_pairs(tmp_path / "images", tmp_path / "masks", list("abcdefgh"))
    save(square_mask(), tmp_path / "masks" / "orphan.png")
    lists = segmentation_datalists(tmp_path)
    assert sum(map(len, lists.values())) == 8
    assert "orphan.png" in caplog.text


@pytest.mark.parametrize("count", [3, 4, 5, 7, 10])
def test_a_small_plain_set_fills_every_part(tmp_path, count):
    save_pairs(tmp_path / "images", tmp_path / "masks", [str(i) for i in range(count)])
    lists = segmentation_datalists(tmp_path, require=("training", "validation", "test"))
    assert sum(lists.values(), []) == sorted(sum(lists.values(), []), key=lambda item: int(item["name"]))
    assert sum(map(len, lists.values())) == count


def test_paths_are_absolute_whatever_was_given(tmp_path, monkeypatch):
    save_pairs(tmp_path / "set" / "images", tmp_path / "set" / "masks", list("abcdefgh"))
    monkeypatch.chdir(tmp_path)
    first = segmentation_datalists("./set", split="by_name")["training"][0]
    assert first["image"] == str(tmp_path / "set" / "images" / "a.png")
