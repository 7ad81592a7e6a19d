"""Text that goes into files: names that are not UTF-8, names that spreadsheets would run, tables that grow."""

from __future__ import annotations

import csv

import pytest

from medssm_monai.utils.text_files import GrowingTable, markdown_text, name_cell, open_text, printable, write_text

LATIN = b"gr\xfcn \xe9t\xe9.png".decode("utf-8", "surrogateescape")


def test_a_name_that_is_not_utf8_is_written_with_backslashes(tmp_path):
    with open_text(tmp_path / "table.csv") as stream:
        csv.writer(stream).writerow([LATIN, "grün"])
    write_text(tmp_path / "page.md", f"{LATIN}\ngrün\n")
    assert (tmp_path / "table.csv").read_bytes() == b"gr\\udcfcn \\udce9t\\udce9.png,gr\xc3\xbcn\r\n"
    assert (tmp_path / "page.md").read_bytes() == b"gr\\udcfcn \\udce9t\\udce9.png\ngr\xc3\xbcn\n"
    assert printable(LATIN) == "gr\\udcfcn \\udce9t\\udce9.png"


@pytest.mark.parametrize("name", ["=1+1.png", "+x", "-2 weeks.png", "@SUM(A1)", "\tx", "\rx"])
def test_a_name_that_would_be_a_formula_gets_an_apostrophe(name):
    assert name_cell(name) == f"'{name}"


@pytest.mark.parametrize("name", ["/data/=1.png", "a-b", "", "1.png", "'x"])
def test_other_names_stay(name):
    assert name_cell(name) == name


def test_a_growing_table_is_readable_after_each_row_and_keeps_the_one_before(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("earlier")
    table = GrowingTable(path)
    assert path.read_text() == "earlier"
    for number in range(3):
        table.append({"image": LATIN, "value": number})
        assert [row["value"] for row in csv.DictReader(path.open(newline=""))] == [str(n) for n in range(number + 1)]
    (kept,) = tmp_path.glob("t_*.csv")
    assert kept.read_text() == "earlier"
    table.restart()
    table.append({"other": 1})
    assert path.read_text() == "other\n1\n"
    assert len(list(tmp_path.glob("t_*.csv"))) == 2


MARKED = [
    ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    ("| a | [x](javascript:alert(1)) |", "\\| a \\| [x\\](javascript:alert(1)) \\|"),
    ("![x](http://e/x.png)", "![x\\](http:\\//e/x.png)"),
    ("[x]: http://e", "\\[x\\]: http:\\//e"),
    ("`code` **b** ~~s~~", "\\`code\\` \\*\\*b\\*\\* \\~\\~s\\~\\~"),
    ("_i_ a_b (_mean)", "\\_i\\_ a_b (\\_mean)"),
    ("x\n# head\r\u2028y", "x # head y"),
    ("www.e.org me@e.org", "www\\.e.org me\\@e.org"),
    ("&lt; a\\|b", "&amp;lt; a\\\\\\|b"),
    ("normal, benign (2 of 3)", "normal, benign (2 of 3)"),
    ([64, 64], "[64, 64]"),
    (["a|b", "c"], "[a\\|b, c]"),
    (0.5, "0.5"),
    (None, "None"),
]


@pytest.mark.parametrize(("value", "written"), MARKED)
def test_names_are_texts_in_a_page(value, written):
    """As read by hand, and as CommonMark and GitHub's tables read them: the page shows ``value`` itself."""
    assert markdown_text(value) == written
