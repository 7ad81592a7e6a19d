"""Tables as spreadsheets and scripts save them: one reader, whatever the task."""

from __future__ import annotations

import os

import pytest

from medssm_monai.data import DatalistError, classification_datalists, image_datalist, pair_datalist
from medssm_monai.data.datalists.tables import read_table

from .builders import picture, save
from .class_builders import save_isic

ROWS = [["image", "patient"], ["bilder/grün_1.png", "1"], ["bilder/b_2.png", "2"]]
WAYS = [
    ("utf-8", ",", "utf-8"),
    ("utf-8-sig", ";", "utf-8-sig"),
    ("cp1252", ";", "cp1252"),
    ("cp1252", ",", "cp1252"),
    ("utf-16", "\t", "utf-16"),
    ("utf-16-le", ";", "utf-16-le"),
    ("utf-16-be", ",", "utf-16-be"),
]


@pytest.fixture
def folder(tmp_path):
    for name in ("grün_1", "b_2"):
        save(picture(), tmp_path / "bilder" / f"{name}.png")
    return tmp_path


def write(path, rows, encoding="utf-8", separator=",", end="\r\n"):
    path.write_bytes(end.join(separator.join(row) for row in rows).encode(encoding))
    return path


@pytest.mark.parametrize(("encoding", "separator", "found"), WAYS)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_every_encoding_and_separator_gives_the_same_images(folder, encoding, separator, found, suffix):
    file = write(folder / f"list{suffix}", ROWS, encoding, separator)
    assert [item["name"] for item in image_datalist(file)] == ["grün_1", "b_2"]
    table = read_table(file)
    assert (table.encoding, table.separator, table.rows) == (found, separator, ROWS)


@pytest.mark.parametrize(("encoding", "separator", "found"), WAYS)
def test_pairs_are_read_by_the_same_reader(folder, encoding, separator, found):
    rows = [["ID", "Image_A", "image_b"], ["7", "bilder\\grün_1.png", "bilder/b_2.png"]]
    (pair,) = pair_datalist(write(folder / "pairs.csv", rows, encoding, separator), ("A", "B"))
    assert pair["image_a"] == str(folder / "bilder" / "grün_1.png")
    assert pair["image_b"] == str(folder / "bilder" / "b_2.png")


@pytest.mark.parametrize("header", ["Image Index", "image_name", "FileName", "img", "Path", "image-id"])
def test_headers_that_name_images_in_any_column(folder, header):
    rows = [["Finding", header], ["none", "bilder\\grün_1.png"], ["mass", "bilder\\b_2.png"]]
    assert [item["name"] for item in image_datalist(write(folder / "list.csv", rows))] == ["grün_1", "b_2"]


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nimage;note\nbilder/grün_1.png;a, b\n",
        '"image";"note"\n"bilder/grün_1.png";"a; b"\n',
        "bilder/grün_1.png\n",
        "bilder/grün_1.png;1\n",
        "image\n  bilder/grün_1.png  \n\n",
    ],
)
def test_quotes_hints_blanks_and_lists_without_header(folder, text):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    assert [item["name"] for item in image_datalist(folder / "list.csv")] == ["grün_1"]


def test_commas_in_the_names_of_a_list_of_one_column(folder):
    save(picture(), folder / "a, b.png")
    (folder / "list.csv").write_text("image\na, b.png\nbilder/b_2.png\n")
    assert [item["name"] for item in image_datalist(folder / "list.csv")] == ["a, b", "b_2"]


def test_names_in_the_other_unicode_form_or_in_bytes_that_are_no_utf8(folder):
    (folder / "list.csv").write_text("image\nbilder/gru\u0308n_1.png\n", encoding="utf-8")
    assert image_datalist(folder / "list.csv")[0]["image"] == str(folder / "bilder" / "grün_1.png")
    raw = os.fsencode(folder / "bilder") + b"/gr\xfcn.png"
    os.rename(folder / "bilder" / "grün_1.png", raw)
    (folder / "list.csv").write_bytes(b"image\nbilder/gr\xfcn.png\n")
    assert os.fsencode(image_datalist(folder / "list.csv")[0]["image"]) == raw


def test_an_unknown_header_is_one_error_with_file_encoding_separator_and_remedy(folder):
    file = write(folder / "list.csv", [["Befund", "Bilddatei"], ["kein", "bilder/b_2.png"]], "cp1252", ";")
    with pytest.raises(DatalistError, match=r"list\.csv \(read as utf-8, separator: semicolon\).*Befund.*image"):
        image_datalist(file)


def test_a_listed_image_that_is_not_there_is_named_not_the_header(folder):
    with pytest.raises(DatalistError, match=r"file not found \(1\)[\s\S]*nowhere\.png") as caught:
        image_datalist(write(folder / "list.csv", [["nowhere.png"], ["bilder/b_2.png"]]))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", b"image;x\n", "no image below the header"),
        ("list.csv", b"\xff\xfe\x00", "list.csv is no text"),
        ("list.csv", b"caf\x81.png\n", "no text in UTF-8"),
        ("list.xlsx", b"PK\x03\x04", "is a workbook; save the sheet as CSV UTF-8"),
    ],
)
def test_what_is_no_list_is_named_with_the_remedy(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatalistError, match=message):
        image_datalist(tmp_path / name)


@pytest.mark.parametrize(("encoding", "separator", "found"), WAYS)
def test_class_and_group_tables_are_read_by_the_same_reader(tmp_path, encoding, separator, found):
    save_isic(tmp_path)
    expected = classification_datalists(tmp_path, group_column="lesion_id", check=False)
    for file in tmp_path.glob("*.csv"):
        rows = [line.split(",") for line in file.read_text().splitlines()]
        if separator == ";":  # as Excel writes numbers beside semicolons
            rows = [rows[0], *([row[0], *(cell.replace(".", ",") for cell in row[1:])] for row in rows[1:])]
        write(file, rows, encoding, separator)
    assert dict(classification_datalists(tmp_path, group_column="lesion_id", check=False)) == dict(expected)


def test_rows_longer_than_the_header_and_double_columns(tmp_path):
    with pytest.raises(DatalistError, match=r"row 3 has 3 cells, the header 2"):
        read_table(write(tmp_path / "t.csv", [["a", "b"], ["1", "2"], ["1", "2", "3"]])).frame()
    with pytest.raises(DatalistError, match="two columns of one name"):
        read_table(write(tmp_path / "t.csv", [["a", "a"], ["1", "2"]])).frame()
