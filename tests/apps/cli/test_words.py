"""Which words are the command's own, and which go to the config."""

from __future__ import annotations

import argparse

import pytest

from medssm_monai.apps.cli.words import without_overrides


@pytest.fixture
def parser():
    made = argparse.ArgumentParser("it", allow_abbrev=False)
    made.add_argument("inputs", nargs="+")
    made.add_argument("-o", "--output")
    made.add_argument("--verbose", action="store_true")
    return made


@pytest.mark.parametrize(
    ("words", "own", "overrides"),
    [
        (["a.png", "-o", "out"], ["a.png", "-o", "out"], []),
        (["--threshold", "0.3", "a.png", "b.png"], ["a.png", "b.png"], ["--threshold", "0.3"]),
        (["a.png", "--threshold=0.3", "b.png"], ["a.png", "b.png"], ["--threshold=0.3"]),
        (["--shift", "-3", "a.png"], ["a.png"], ["--shift", "-3"]),
        (["--verbose", "a.png"], ["--verbose", "a.png"], []),
        (["a.png", "--", "--verbose", "True"], ["a.png"], ["--verbose", "True"]),
        (["a.png", "--train#dataloader#num_workers", "2"], ["a.png"], ["--train#dataloader#num_workers", "2"]),
    ],
)
def test_words_are_split(parser, words, own, overrides):
    assert without_overrides(words, parser) == (own, overrides)


@pytest.mark.parametrize("words", [["a.png", "--threshold"], ["--threshold", "--output", "x", "a.png"]])
def test_a_key_without_value_is_named(parser, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        without_overrides(words, parser)
    assert "--threshold VALUE" in capsys.readouterr().err
