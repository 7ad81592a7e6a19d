"""Broken classification data: one error that names every offender, and never a silent fallback."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from medssm_monai.data import DatalistError, classification_datalists
from medssm_monai.data.datalists import medmnist as medmnist_module

from .builders import truncate
from .class_builders import npz_arrays, save_classes, save_isic, save_npz


def message(*args, **kwargs) -> str:
    with pytest.raises(DatalistError) as caught:
        classification_datalists(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(("place", "error"), [("", FileNotFoundError), ("missing", FileNotFoundError)])
def test_a_wrong_folder_is_an_error(tmp_path, place, error):
    with pytest.raises(error, match="demo"):
        classification_datalists(tmp_path / place if place else "")


def test_empty_class_folders_are_all_named(tmp_path):
    save_classes(tmp_path, {"a": 5, "b": 0, "c": 0, "d": 5})
    text = message(tmp_path)
    assert "empty class (2)" in text
    assert str(tmp_path / "b") in text
    assert str(tmp_path / "c") in text


def test_a_class_that_the_test_folder_lacks(tmp_path):
    save_classes(tmp_path / "Training", {"a": 10, "b": 10})
    save_classes(tmp_path / "Testing", {"a": 5}, seed=9000)
    assert f"{tmp_path / 'Testing' / 'b'} (there is no such folder)" in message(tmp_path)


def test_one_class_only(tmp_path):
    save_classes(tmp_path, {"a": 10})
    assert "one class only" in message(tmp_path)


def test_images_with_masks_are_no_classes(tmp_path):
    save_classes(tmp_path, {"images": 5, "masks": 5})
    assert "not one folder per class" in message(tmp_path)


def test_unreadable_images_are_all_named(tmp_path):
    save_classes(tmp_path, {"a": 10, "b": 10})
    broken = [truncate(tmp_path / "a" / "a-3.png"), truncate(tmp_path / "b" / "b-7.png")]
    (tmp_path / "b" / "b-8.png").write_bytes(b"no picture")
    text = message(tmp_path)
    assert "unreadable file (3)" in text
    assert all(str(path) in text for path in broken)
    assert len(classification_datalists(tmp_path, check=False)["training"]) == 14


def test_equal_files_in_two_parts_are_reported_dropped_or_refused(tmp_path, caplog):
    for seed, part in enumerate(("train", "val", "test")):
        save_classes(tmp_path / part, {"a": 6, "b": 6}, seed=10_000 * seed)
    shutil.copy(tmp_path / "train/a/a-0.png", tmp_path / "test/a/a-1.png")
    shutil.copy(tmp_path / "train/b/b-0.png", tmp_path / "val/b/b-1.png")
    shutil.copy(tmp_path / "train/b/b-2.png", tmp_path / "train/b/b-3.png")  # within a part: no leak
    lists = classification_datalists(tmp_path)
    assert [len(items) for items in lists.values()] == [12, 12, 12]
    assert "2 image(s) lie in more than one part" in caplog.text
    assert " = test/a/a-1.png (test)" in caplog.text
    dropped = classification_datalists(tmp_path, duplicates="drop")
    assert [len(items) for items in dropped.values()] == [10, 12, 12]
    text = message(tmp_path, duplicates="error")
    assert "same image in two parts (2)" in text
    assert str(tmp_path / "val/b/b-1.png") in text
    caplog.clear()
    classification_datalists(tmp_path, duplicates="ignore")
    assert "more than one part" not in caplog.text


def test_table_rows_without_file_and_without_a_single_class(tmp_path):
    save_isic(tmp_path)
    table = tmp_path / "ISIC_2019_Training_GroundTruth.csv"
    text = table.read_text().replace("ISIC_0000002,0.0,1.0", "ISIC_0000002,1.0,1.0")
    table.write_text(text + "ISIC_9999999,1.0,0.0,0.0,0.0\nISIC_0000003,0.0,1.0,0.0,0.0\nISIC_0000004,x,0,0,0\n")
    text = message(tmp_path)
    assert "row without a file (1)" in text
    assert "ISIC_9999999" in text
    assert "row without a single class (2)" in text
    assert "two rows for one image (2)" in text


def test_images_without_a_row_in_the_group_table(tmp_path):
    save_isic(tmp_path)
    table = tmp_path / "ISIC_2019_Training_Metadata.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))
    text = message(tmp_path, group_column="lesion_id")
    assert "image without a row in the group table (2)" in text
    assert "no table with the group column" in message(tmp_path, group_column="patient")


def test_groups_torn_by_given_counts(tmp_path):
    save_isic(tmp_path, 60)
    assert "group in two parts" in message(tmp_path, group_column="lesion_id", split_counts=(7, 5, 6))


def test_missing_arrays_are_all_named(tmp_path):
    text = message(save_npz(tmp_path / "breastmnist.npz", val_labels=None, test_images=None))
    assert "val_labels, test_images" in text
    assert "train_images" in text


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "exploded").touch, ()

    labels = np.empty(8, dtype=object)
    labels[:] = [Bomb() for _ in range(8)]
    text = message(save_npz(tmp_path / "breastmnist.npz", train_labels=labels))
    assert "pickled objects" in text
    assert "train_labels" in text
    np.save(tmp_path / "bare.npy", labels, allow_pickle=True)
    (tmp_path / "bare.npy").rename(tmp_path / "bare.npz")
    assert "unreadable file" in message(tmp_path / "bare.npz")
    assert not (tmp_path / "exploded").exists()


def test_labels_outside_the_range_are_all_named(tmp_path):
    labels = npz_arrays()["train_labels"].astype(np.int16)
    labels[3], labels[6] = 2, -1
    text = message(save_npz(tmp_path / "breastmnist.npz", train_labels=labels))
    assert "label outside the range (2)" in text
    assert "train_labels/3 (2, expected 0 to 1)" in text
    assert "train_labels/6 (-1, expected 0 to 1)" in text


@pytest.mark.parametrize(
    "labels", [np.zeros((8, 14), dtype=np.uint8), np.zeros(7, dtype=np.uint8), np.full(8, 0.5), np.array(["x"] * 8)]
)
def test_unusable_labels(tmp_path, labels):
    assert "unusable labels (1)" in message(save_npz(tmp_path / "x.npz", train_labels=labels))


def test_a_truncated_npz(tmp_path):
    assert "unreadable" in message(truncate(save_npz(tmp_path / "breastmnist.npz")))


def test_an_unofficial_file_warns_by_name_or_fails_when_strict(tmp_path, caplog, monkeypatch):
    file = save_npz(tmp_path / "breastmnist.npz")
    classification_datalists(file)
    assert file.name in caplog.text
    assert "MD5" in caplog.text
    assert "not the official file" in message(file, strict_data=True)
    digest = medmnist_module.hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setitem(medmnist_module.MEDMNIST["breastmnist"].md5, 28, digest)
    caplog.clear()
    classification_datalists(file, strict_data=True)
    assert "MD5" not in caplog.text


def test_a_file_of_unknown_name_cannot_be_strict(tmp_path):
    file = save_npz(tmp_path / "mine.npz")
    assert classification_datalists(file).class_names == ["0", "1"]
    assert "none published" in message(file, strict_data=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "csv"}, "layout must be"),
        ({"fractions": (0.5, 0.6, 0.1)}, "sum to 1"),
        ({"split_counts": (20, 1, 1)}, "too few images of a class"),
        ({"split_counts": (1, 1, 1), "split_file": "x.json"}, "not both"),
        ({"duplicates": "maybe"}, "duplicates must be"),
        ({"check": "half"}, "check must be"),
        ({"subset": "breast"}, "chooses an .npz file"),
        ({"require": ("train",)}, "unknown parts"),
        ({"drop_list": "missing.tsv"}, "does not exist"),
    ],
)
def test_bad_options(tmp_path, options, words):
    save_classes(tmp_path, {"a": 10, "b": 10})
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        classification_datalists(tmp_path, **options)
