"""Bad input: one error, every offender in it, each with its remedy."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import DatalistError, segmentation_datalists

from .builders import picture, save, save_pairs, square_mask, truncate


@pytest.fixture
def dataset(tmp_path):
    save_pairs(tmp_path / "images", tmp_path / "masks", list("abcdefghij"))
    return tmp_path


@pytest.mark.parametrize("given", ["no/such/folder", "Demo", "demo2", ""])
def test_a_missing_folder_is_an_error_and_never_the_demo_set(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="demo"):
        segmentation_datalists(given, demo_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_as_dataset_dir(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="data.zip"):
        segmentation_datalists(tmp_path / "data.zip")


def test_an_unknown_layout_says_what_was_expected_and_found(tmp_path):
    save(picture(), tmp_path / "pictures" / "a.png")
    with pytest.raises(DatalistError, match=r"TrainDataset.*ISIC-2017_Training_Data.*images/.*pictures"):
        segmentation_datalists(tmp_path)
    with pytest.raises(ValueError, match=r"layout must be one of auto, pranet, isic, plain"):
        segmentation_datalists(tmp_path, layout="coco")


def test_no_images(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("no image")
    with pytest.raises(DatalistError, match=r"no images(.|\n)*images"):
        segmentation_datalists(tmp_path)


def test_all_offenders_are_in_one_error(dataset):
    (dataset / "masks" / "a.png").unlink()
    truncate(dataset / "images" / "b.png")
    truncate(dataset / "masks" / "c.png", 0.7)
    (dataset / "images" / "d.png").write_bytes(b"")
    (dataset / "images" / "e.png").write_text("not an image at all")
    save(square_mask(10, 16), dataset / "masks" / "f.png")
    save(picture(), dataset / "images" / "g.jpg")
    with pytest.raises(DatalistError) as caught:
        segmentation_datalists(dataset)
    found = {
        (problem.kind, problem.path.rsplit("/", 2)[-2:][0], problem.path[-5:]) for problem in caught.value.problems
    }
    assert found == {
        ("image without mask", "images", "a.png"),
        ("unreadable file", "images", "b.png"),
        ("unreadable file", "masks", "c.png"),
        ("unreadable file", "images", "d.png"),
        ("unreadable file", "images", "e.png"),
        ("unequal sizes", "images", "f.png"),
        ("two files with one name", "images", "g.png"),
    }
    message = str(caught.value)
    assert "7 problem(s)" in message
    assert "image 12 x 16, mask 10 x 16" in message
    assert message.count("; remedy: ") == 4


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("folder", ["images", "masks"])
def test_truncation_is_noticed_in_every_format(tmp_path, suffix, folder):
    for name in "abcdefgh":
        save(picture(64, 64), tmp_path / "images" / f"{name}.{suffix}")
        save(square_mask(64, 64), tmp_path / "masks" / f"{name}.{suffix}")
    truncate(tmp_path / folder / f"c.{suffix}", 0.7)
    with pytest.raises(DatalistError) as caught:
        segmentation_datalists(tmp_path)
    assert [(p.kind, p.path) for p in caught.value.problems] == [
        ("unreadable file", str(tmp_path / folder / f"c.{suffix}"))
    ]


def test_a_swapped_mask_is_told_from_an_exif_rotation(dataset, caplog):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        Image.fromarray(picture()).save(dataset / "images" / f"{name}.jpg", exif=exif)
        (dataset / "images" / f"{name}.png").unlink()
    save(square_mask(16, 12), dataset / "masks" / "b.png")
    with pytest.raises(DatalistError, match="EXIF rotation, which is not applied") as caught:
        segmentation_datalists(dataset, split="by_name")
    assert [problem.path[-5:] for problem in caught.value.problems] == ["b.jpg"]
    assert "a.jpg" in caplog.text


def test_all_masks_empty_is_an_error_some_empty_masks_are_not(dataset):
    empty = np.zeros((12, 16), np.uint8)
    for name in "abcdef":
        save(empty, dataset / "masks" / f"{name}.png")
    assert len(segmentation_datalists(dataset, split="by_name")["training"]) == 7
    save(empty, dataset / "masks" / "g.png")
    with pytest.raises(DatalistError, match="training part, 7 masks, largest value 0"):
        segmentation_datalists(dataset, split="by_name")
    with pytest.raises(DatalistError, match=r"training part, 7 masks, largest value 0(.|\n)*validation part"):
        segmentation_datalists(dataset, split="by_name", foreground=[9])


def test_check_levels(dataset):
    truncate(dataset / "images" / "a.png")
    assert segmentation_datalists(dataset, check=False)
    assert segmentation_datalists(dataset, check="header")
    save(square_mask(9, 9), dataset / "masks" / "b.png")
    with pytest.raises(DatalistError, match="unequal sizes"):
        segmentation_datalists(dataset, check="header")
    with pytest.raises(ValueError, match="check must be"):
        segmentation_datalists(dataset, check="fast")


def test_unknown_part_in_require(dataset):
    with pytest.raises(ValueError, match="train"):
        segmentation_datalists(dataset, require=("train",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "expected a JSON object"),
        ('{"train": ["a"]}', "expected a JSON object"),
        ('{"training": ["a"], "val": ["b"]}', "unknown parts"),
        ('{"training": "a"}', "no list of names"),
        ('{"training": ["a", null]}', "no list of names"),
    ],
)
def test_bad_split_files(dataset, content, message):
    (dataset / "split.json").write_text(content)
    with pytest.raises(DatalistError, match=message):
        segmentation_datalists(dataset, split_file=dataset / "split.json")


def test_a_split_that_contradicts_itself_or_the_disk_names_every_offender(dataset):
    (dataset / "split.json").write_text('{"training": ["a", "b", "x", "1-3"], "validation": ["b", "c"], "test": ["a"]}')
    with pytest.raises(DatalistError) as caught:
        segmentation_datalists(dataset, split_file=dataset / "split.json")
    kinds = {(problem.kind, problem.path) for problem in caught.value.problems}
    overlap, unknown = "name in two parts of the split file", "unknown name in split file"
    assert kinds == {(overlap, "a"), (overlap, "b"), *((unknown, name) for name in ("x", "1", "2", "3"))}


def test_a_split_name_without_mask_is_told_with_its_cause(dataset):
    (dataset / "masks" / "a.png").unlink()
    (dataset / "split.json").write_text('{"training": ["a", "b"], "validation": ["c"]}')
    with pytest.raises(DatalistError) as caught:
        segmentation_datalists(dataset, split_file=dataset / "split.json")
    assert [problem.kind for problem in caught.value.problems] == ["image without mask", "unknown name in split file"]


def test_a_missing_split_file(dataset):
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        segmentation_datalists(dataset, split_file=dataset / "nowhere.json")
