"""How files are named in what a run leaves behind."""

from __future__ import annotations

import os

import pytest

from medssm_monai.utils import shown_names
from medssm_monai.utils.shown_names import (
    DATA_FOLDER,
    find_shown,
    remember_called,
    remember_data,
    shown_name,
    shown_text,
    shown_value,
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(shown_names, "_folders", {})
    monkeypatch.delenv("MEDSSM_FULL_NAMES", raising=False)
    folder = tmp_path / "MUELLER 1970"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(b"")
    remember_data(folder)
    return folder


def test_files_are_named_from_the_data_folder_on_and_others_by_their_name(data, monkeypatch):
    file = data / "images" / "a.png"
    assert shown_name(file) == "images/a.png"
    assert shown_name(data) == DATA_FOLDER
    assert shown_name(data.parent / "other" / "b.png") == "b.png"
    assert shown_name("/far/away/chest.npz/test_images/7") == "chest.npz/test_images/7"
    assert shown_name(f"{data}2/b.png") == "b.png"  # another folder, whose name begins alike
    assert [shown_name(name) for name in ("rank0_image00001", "data/b.png", "")] == [
        "rank0_image00001",
        "data/b.png",
        "",
    ]
    assert find_shown("images/a.png") == file
    assert find_shown("images/none.png") is None
    monkeypatch.chdir(data.parent)
    assert shown_name("MUELLER 1970/images/a.png") == "images/a.png"
    monkeypatch.setenv("MEDSSM_FULL_NAMES", "1")
    assert shown_name(file) == str(file)
    assert shown_text(f"cannot read {file}") == f"cannot read {file}"


def test_messages_lose_the_way_to_the_data(data):
    message = f"{data}/images/a.png is cut; copy it to {data}, not to {data}2"
    assert shown_text(f"/x{data}/a.png") == f"/x{data}/a.png"  # another folder, whose name ends alike
    assert shown_text(message) == f"images/a.png is cut; copy it to {DATA_FOLDER}, not to {data}2"


def test_settings_that_are_paths(data, tmp_path):
    assert shown_value(str(data)) == DATA_FOLDER
    assert shown_value("/home/x/model.pt") == "model.pt"
    assert shown_value(f"by {data}/split.json") == "by split.json"
    assert shown_value("a/" + "b" * 9999) == "a/" + "b" * 9999
    assert [shown_value(text) for text in ("demo", "0.1", "cuda:0", "n/a", "[1, 2]")] == [
        *("demo", "0.1", "cuda:0", "n/a", "[1, 2]")
    ]


def test_a_list_and_one_image_count_by_their_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(shown_names, "_folders", {})
    for name in ("lists/l.csv", "far/A/1.png", "far/B/1.png", "one/x.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    remember_data(tmp_path / "lists" / "l.csv", [tmp_path / "far/A/1.png", tmp_path / "far/B/1.png"])
    assert [shown_name(tmp_path / f"far/{patient}/1.png") for patient in "AB"] == ["A/1.png", "B/1.png"]
    assert shown_name(tmp_path / "lists" / "l.csv") == "l.csv"
    remember_data(tmp_path / "one" / "x.png")
    assert shown_name(tmp_path / "one" / "x.png") == "x.png"
    remember_data(os.sep)  # the whole computer is no data folder
    assert shown_name(tmp_path / "two" / "y.png") == "y.png"
    for number in range(100):  # of a server's lifetime
        remember_data(tmp_path / str(number) / "a.png")
    assert len(shown_names._folders) == shown_names.KEPT


def test_an_image_is_called_by_the_name_it_was_given(tmp_path, monkeypatch):
    """As a DICOM series by its UID, whose files may be called after a patient."""
    one = tmp_path / "Nobody^Nemo" / "a.dcm"
    one.parent.mkdir()
    one.touch()
    remember_called(f"{one} and 3 more", "1.2.3")
    remember_called(one, "1.2.4")
    assert [shown_name(f"{one} and 3 more"), shown_name(one)] == ["1.2.3", "1.2.4"]
    assert find_shown("1.2.4") == one and find_shown("1.2.3") is None
    monkeypatch.setenv("MEDSSM_FULL_NAMES", "1")
    assert shown_name(one) == str(one)
