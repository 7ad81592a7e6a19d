"""Values that users give: through MONAI's parser and its command line as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from medssm_monai.bundle.config import command_word, literal
from medssm_monai.data import dataset_name, image_datalist
from medssm_monai.data.root import existing_path
from medssm_monai.utils.command_line import typed_option, unchanged_path

ODD = [
    "study#2",
    "/data/study#2/x",
    "a::b",
    "@other",
    "@#other",
    "x @::y",
    "%other",
    "%file.json#a",
    "$1/0",
    "$import os",
    "$__import__('os').getcwd()",
    'it\'s "quoted" \\ and\nbroken',
    "läsion 病変",
    "gr\udcfcn#1",
    "C:\\new#x",
    "2017",
    "1_000",
    "a,b",
    "None",
    "[1, 2]",
    "",
]


def parsed(value):
    parser = ConfigParser({"other": 1, "value": value, "copy": "@value", "joined": "$[@value]"})
    content = parser.get_parsed_content("value")
    assert parser.get_parsed_content("copy") == content
    assert parser.get_parsed_content("joined") == [content]
    return content


@pytest.mark.parametrize("text", ODD)
def test_a_text_comes_out_of_the_parser_as_it_went_in(text):
    assert parsed(literal(text)) == text


def test_paths_and_what_lies_in_lists_and_mappings():
    assert parsed(literal(Path("/a/b#c"))) == "/a/b#c"
    assert parsed(literal({"a": ["$x", 1, None], "b": {"c": "@other"}})) == {"a": ["$x", 1, None], "b": {"c": "@other"}}
    assert parsed(literal(0.3)) == 0.3
    assert literal("plain") == "plain"


@pytest.mark.parametrize("text", [text for text in ODD if text])
def test_a_word_of_a_command_line_arrives_as_the_text(text):
    assert parsed(DefaultParseValue(command_word(text))) == text


@pytest.mark.parametrize("value", [3, 0.5, True, None, ["a#b", "$x"], {"scan": "@other"}, ["1", "2"]])
def test_other_values_arrive_with_their_type(value):
    assert parsed(DefaultParseValue(command_word(value))) == value


@pytest.mark.parametrize(
    "text", ["2017", "1e3", "1_000", "2017.50", "set#2", "./set#2", "/x/set#2", "True", "plain", "./2"]
)
@pytest.mark.parametrize("form", ["--dataset_dir {}", "--dataset_dir={}", "--dataset-dir {}"])
def test_the_value_of_an_option_as_it_was_typed(text, form):
    arrived = DefaultParseValue(text)
    arrived = ConfigParser({"v": arrived}).get_parsed_content("v")
    argv = ["run", "--other", "7", *form.format(text).split(" ", 1)]
    assert typed_option(arrived, "dataset_dir", argv) == text


def test_what_did_not_come_from_the_command_line_stays(tmp_path, monkeypatch):
    argv = ["--dataset_dir", "2017", "--other", "set#2"]
    assert typed_option("elsewhere", "dataset_dir", argv) == "elsewhere"
    assert typed_option("2017", "dataset_dir", argv) == "2017"
    assert typed_option("set", "dataset_dir", argv) == "set"
    assert typed_option(Path("a"), "dataset_dir", ["--dataset_dir"]) == Path("a")
    monkeypatch.chdir(tmp_path)
    pair = ["--dataset_dir", "a,b"]
    assert typed_option(("a", "b"), "dataset_dir", pair) == ("a", "b")
    (tmp_path / "a,b").mkdir()
    assert typed_option(("a", "b"), "dataset_dir", pair) == "a,b"


def test_a_changed_path_is_an_error_that_says_how_to_write_it():
    argv = ["--output_dir", "/x/study#2", "--run_name", "a"]
    for path in ("/x/study::2", "/x/study::2/run"):
        with pytest.raises(ValueError, match=r"--output_dir /x/study#2 reached the run as /x/study::2") as caught:
            unchanged_path(path, argv)
        expression = str(caught.value).split('"')[1]
        assert ConfigParser({"v": expression}).get_parsed_content("v") == "/x/study#2"
    assert unchanged_path("/x/study::3", argv) == "/x/study::3"
    assert unchanged_path("/x/study::2", ["--output_dir", r"$'/x/study\x232'"]) == "/x/study::2"


@pytest.mark.parametrize("name", ["2017", "set#2", "1_0"])
def test_names_of_folders_as_the_data_sets_take_them(tmp_path, name, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "x.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bundle", "run", "--dataset_dir", name])
    arrived = ConfigParser({"v": DefaultParseValue(name)}).get_parsed_content("v")
    assert arrived != name
    assert dataset_name(arrived) == name
    assert image_datalist(arrived)[0]["image"] == str(folder / "x.png")
    assert existing_path(arrived) == folder
