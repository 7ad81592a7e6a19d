"""What lies in a folder beside its images: counted and named, once, or an error where the data are not there."""

from __future__ import annotations

import logging
import os

import pytest
from PIL import Image

from medssm_monai.data import DatalistError, classification_datalists, image_datalist, segmentation_datalists

from .builders import names, picture, save, square_mask
from .dicom_files import save_dicom

STORAGE = "1.2.840.10008.5.1.4.1.1."


def lines(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]


@pytest.mark.parametrize(("suffix", "form"), [(".jfif", "JPEG"), (".JPE", "JPEG"), (".webp", "WEBP"), (".gif", "GIF")])
def test_further_suffixes_of_images_are_read(tmp_path, suffix, form, caplog):
    for label in "ab":
        for number in range(5):
            file = tmp_path / label / f"{number}{suffix}"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(picture(seed=ord(label) + number)).save(file, form)
    with caplog.at_level(logging.INFO):
        lists = classification_datalists(tmp_path)
    assert sum(map(len, lists.values())) == 10
    assert not lines(caplog)


def test_masks_as_gif(tmp_path):
    for number in range(6):
        save(picture(), tmp_path / "images" / f"{number:02d}_test.tif")
        save(square_mask(), tmp_path / "masks" / f"{number:02d}_test.gif")
    assert sum(map(len, segmentation_datalists(tmp_path).values())) == 6


def test_what_is_passed_over_is_counted_by_suffix_in_one_line(tmp_path, caplog):
    save(picture(), tmp_path / "a.png")
    for name in ("1.heic", "2.HEIC", "3.svg", "notes.txt", "noend", ".hidden.png", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x" * 200)
    (tmp_path / "gone.txt").symlink_to("nowhere.txt")
    with caplog.at_level(logging.INFO):
        assert names(image_datalist(tmp_path)) == ["a"]
    assert lines(caplog) == [
        "(data folder): 6 files passed over: .heic (2), .svg (1), .txt (2), no suffix (1)",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(("junk", "level"), [(["a.txt", "b.md"], "INFO"), (["Thumbs.db", ".DS_Store"], None)])
def test_notes_are_said_quietly_and_files_of_the_system_not_at_all(tmp_path, caplog, junk, level):
    save(picture(), tmp_path / "a.png")
    for name in junk:
        (tmp_path / name).write_bytes(b"")
    with caplog.at_level(logging.INFO):
        image_datalist(tmp_path)
    assert [record.levelname for record in caplog.records] == ([level] if level else [])


@pytest.mark.parametrize("suffix", [".png", ".dcm", ""])
def test_links_that_lead_nowhere_are_an_error_with_count_and_example(tmp_path, suffix):
    save(picture(), tmp_path / "0.png")
    for number in (10, 9, 11):
        (tmp_path / f"x{number}{suffix}").symlink_to(f"../.git/annex/objects/{number}")
    with pytest.raises(DatalistError, match=rf"3 links lead nowhere, for example x9{suffix}\)") as caught:
        image_datalist(tmp_path)
    assert "fetch them" in str(caught.value)


def test_links_that_lead_somewhere_are_images(tmp_path):
    save(picture(), tmp_path / "far" / "0.png")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "0.png").symlink_to(tmp_path / "far" / "0.png")
    assert names(image_datalist(tmp_path / "near")) == ["0"]


@pytest.mark.parametrize(
    ("sop_class", "what"),
    [
        (f"{STORAGE}88.11", "structured report"),
        (f"{STORAGE}88.59", "structured report"),
        (f"{STORAGE}11.1", "presentation state"),
        (f"{STORAGE}481.3", "radiotherapy structure set"),
        (f"{STORAGE}104.1", "document"),
        ("1.2.840.10008.1.3.10", "index of a medium"),
    ],
)
@pytest.mark.parametrize("name", ["IM0003", "object.dcm"])
def test_dicom_objects_without_pixels_are_set_aside_and_named(tmp_path, caplog, sop_class, what, name):
    for number in range(2):
        save_dicom(tmp_path / f"IM000{number}", picture()[..., 0])
    save_dicom(tmp_path / "DICOMDIR", None, sop_class="1.2.840.10008.1.3.10")
    odd = save_dicom(tmp_path / name, None, sop_class=sop_class)
    with caplog.at_level(logging.INFO):
        assert names(image_datalist(tmp_path)) == ["IM0000", "IM0001"]
    assert len(lines(caplog)) == 1
    assert what in lines(caplog)[0] and "2 files passed over" in lines(caplog)[0]
    with pytest.raises(DatalistError, match=f"no picture.*\n.*DICOM {what}"):
        image_datalist(odd)


@pytest.mark.parametrize("sop_class", [f"{STORAGE}2", f"{STORAGE}66.4", f"{STORAGE}481.2", f"{STORAGE}1.1"])
def test_pictures_of_neighboring_classes_are_not(tmp_path, sop_class):
    save_dicom(tmp_path / "a.dcm", picture()[..., 0], sop_class=sop_class)
    assert names(image_datalist(tmp_path)) == ["a"]


def test_names_that_are_no_utf8_are_listed_and_said(tmp_path, caplog):
    for label in (b"a", b"b"):
        os.makedirs(os.path.join(os.fsencode(tmp_path), label))
        for number in range(4):
            save(picture(seed=number + label[0]), tmp_path / "x.png")
            os.rename(tmp_path / "x.png", os.path.join(os.fsencode(tmp_path), label, b"gr\xfcn%d.png" % number))
    with caplog.at_level(logging.INFO):
        lists = classification_datalists(tmp_path)
        items = image_datalist(tmp_path / "a")
    assert sum(map(len, lists.values())) == 8
    assert items[0]["image"].encode("utf-8", "surrogateescape").endswith(b"/gr\xfcn0.png")
    caplog.text.encode("utf-8")  # a console can print it
    (tmp_path / "a" / os.fsdecode(b"d\xfc.png")).symlink_to("nowhere")
    with pytest.raises(DatalistError, match="1 link leads nowhere") as caught:
        image_datalist(tmp_path / "a")
    assert str(caught.value).encode("utf-8")
