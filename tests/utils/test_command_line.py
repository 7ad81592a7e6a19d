from __future__ import annotations

import shlex
import sys

import pytest

from medssm_monai.bundle.closing_message import closing_block
from medssm_monai.utils import command_line, per_axis, shown_path
from medssm_monai.utils.command_line import arguments_with, as_typed, launcher, option_words, python_name


@pytest.mark.parametrize(
    ("words", "plain", "options"),
    [
        (["run", "training", "--a", "1"], ["run", "training"], {"a": ["--a", "1"]}),
        (["run", "--a=1=2", "training"], ["run", "training"], {"a": ["--a=1=2"]}),
        (["--flag", "--a", "-3"], [], {"flag": ["--flag"], "a": ["--a", "-3"]}),
        (["--a", "1", "--b", "2", "--a", "3"], [], {"b": ["--b", "2"], "a": ["--a", "3"]}),
        (["--net#d", "[8,4]"], [], {"net#d": ["--net#d", "[8,4]"]}),
    ],
)
def test_options_of_a_command_line(words, plain, options):
    assert option_words(words) == (plain, options)


def test_other_values_of_some_options():
    words = ["run", "training", "--run_name", "old", "--lr", "1", "--run_name=older"]
    changed = arguments_with(words, {"run_name": "new one", "resume_from": "eval/new one"})
    assert changed == ["run", "training", "--lr", "1", "--run_name", "new one", "--resume_from", "eval/new one"]


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("['a.yaml', 'b c.yaml']", "\"['a.yaml', 'b c.yaml']\""),
        ("with space", "'with space'"),
        ("it's $HOME", None),
        ("both ' and \"", None),
        ("back`tick'", None),
        ("--plain", "--plain"),
    ],
)
def test_what_is_shown_can_be_typed(word, typed):
    shown = as_typed([word])
    assert shlex.split(shown) == [word]
    assert typed is None or shown == typed


def test_names_of_the_program(monkeypatch):
    monkeypatch.setattr(command_line.shutil, "which", {"python3": sys.executable, "python": "/elsewhere/python"}.get)
    assert python_name() == "python3"
    monkeypatch.setattr(command_line.shutil, "which", lambda name: None)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launcher() == [sys.executable]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert launcher() == ["torchrun", "--standalone", "--nproc_per_node", "2"]


def test_closing_names_only_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "run" / name).touch()
    outside = tmp_path.parent / "outside.pt"
    outside.touch()
    places = {"pictures": sorted((tmp_path / "run").glob("*.png")), "weights": outside, "report": "run/report.md"}
    assert closing_block("Done", places, {"next": "python -m this", "runs": ""}).splitlines() == [
        "Done",
        "  pictures  run/a.png",
        "            run/b.png",
        f"  weights   {outside}",
        "  next      python -m this",
    ]


def test_a_path_in_the_current_folder_is_shown_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "b") == "a/b"
    assert shown_path("a") == "a"
    assert shown_path("/") == "/"


@pytest.mark.parametrize(
    ("size", "dims", "expected"), [(32, 2, [32, 32]), ([32, 64], 2, [32, 64]), ((8, 9, 10), 3, [8, 9, 10])]
)
def test_sizes_per_axis(size, dims, expected):
    assert per_axis(size, dims) == expected


@pytest.mark.parametrize("size", ["32x32", 0, -1, True, [32], [32, 32, 32], [32, 0], [32.0, 32.0], None])
def test_other_sizes_are_refused_with_what_is_expected(size):
    with pytest.raises(ValueError, match=r"image_size is .* expected 2 whole numbers .* --image_size \"\[64, 64\]\""):
        per_axis(size, 2)
