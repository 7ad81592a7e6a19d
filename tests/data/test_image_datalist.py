"""Inference datalists: folder, file, CSV, list."""

from __future__ import annotations

import pytest

from medssm_monai.data import DatalistError, image_datalist

from .builders import picture, save


@pytest.fixture
def folder(tmp_path):
    for name in ("b10.png", "b2.PNG", "ä c.jpg", "d.tif"):
        save(picture(), tmp_path / "set" / name)
    (tmp_path / "set" / ".DS_Store").write_bytes(b"")
    (tmp_path / "set" / "readme.txt").write_text("")
    return tmp_path / "set"


def test_folder_in_natural_order(folder):
    assert [item["name"] for item in image_datalist(folder)] == ["b2", "b10", "d", "ä c"]
    assert image_datalist(folder.parent / "set")[0]["image"] == str(folder / "b2.PNG")


def test_folder_with_an_images_subfolder(folder):
    (folder.parent / "set").rename(folder.parent / "images")
    assert len(image_datalist(folder.parent)) == 4


def test_one_file_and_a_list(folder):
    assert image_datalist(str(folder / "d.tif")) == [{"image": str(folder / "d.tif"), "name": "d"}]
    assert [i["name"] for i in image_datalist([folder / "d.tif", str(folder / "b10.png")])] == ["d", "b10"]


@pytest.mark.parametrize(
    "text",
    ["id,image\n1,b10.png\n2,ä c.jpg\n", "b10.png\nä c.jpg\n\n", "\ufeffPath;x\nb10.png\nä c.jpg\n".replace(";x", "")],
)
def test_csv_paths_count_from_its_folder(folder, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / "list.csv").write_text(text, encoding="utf-8")
    items = image_datalist(folder / "list.csv")
    assert [item["image"] for item in items] == [str(folder / "b10.png"), str(folder / "ä c.jpg")]


def test_a_file_without_suffix_is_dicom_when_it_says_so(folder):
    (folder / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "IM0002").write_bytes(b"\0" * 200)
    assert next(item["name"] for item in image_datalist(folder)) == "IM0001"
    assert len(image_datalist(folder)) == 5


def test_everything_missing_is_named_at_once(folder):
    with pytest.raises(DatalistError) as caught:
        image_datalist([folder / "no.png", folder / "b2.PNG", folder / "readme.txt"])
    assert [problem.path for problem in caught.value.problems] == [str(folder / "no.png"), str(folder / "readme.txt")]


@pytest.mark.parametrize("source", ["", "no/such/place"])
def test_a_source_that_is_not_there(source):
    with pytest.raises(FileNotFoundError):
        image_datalist(source)


def test_nothing_to_do(tmp_path):
    with pytest.raises(DatalistError, match="no images"):
        image_datalist(tmp_path)
    with pytest.raises(DatalistError, match="list of images is empty"):
        image_datalist([])
    (tmp_path / "empty.csv").write_text("\n\n")
    with pytest.raises(DatalistError, match="empty.csv is empty"):
        image_datalist(tmp_path / "empty.csv")
