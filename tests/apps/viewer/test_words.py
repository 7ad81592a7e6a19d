"""Texts of the page."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medssm_monai.apps.viewer.words import bars, facts, likeness, note, origin, plain, problem, without_folders
from medssm_monai.data import ImageReadError
from medssm_monai.data.fingerprint import NOT_RECORDED


def test_names_lose_the_private_folder(folder):
    text = f"{folder}/files/0a1b/scan 1.png: no image; {folder}/result-x/a.nii.gz and /elsewhere/b.png"
    assert without_folders(text) == "scan 1.png: no image; a.nii.gz and /elsewhere/b.png"


def test_expected_errors_say_what_they_say(folder):
    assert plain(ImageReadError(f"{folder}/files/0a/x.png: the file is empty.")) == "x.png: the file is empty."
    assert "memory of this computer does not suffice" in plain(MemoryError())


def test_unforeseen_errors_go_to_the_log(caplog):
    assert "no message foresees why (KeyError: 'lost')" in plain(KeyError("lost"))
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "made",
    [
        lambda text: facts({text: text}),
        lambda text: note(text),
        lambda text: problem(ValueError(text)),
        lambda text: bars({text: 1.0}),
        lambda text: likeness(SimpleNamespace(trained_for="x", unlike_training=(text,))),
        lambda text: facts(origin(SimpleNamespace(trained_for=text, weights=text))),
    ],
)
def test_values_are_escaped(made):
    page = made("<script>alert('x')</script>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_largest_probability_is_marked():
    page = bars({"a": 0.25, "b": 0.75})
    assert page.count("medssm-most") == 1
    assert page.index("medssm-most") > page.index("25.00 %")
    assert "width:75.00%" in page


def test_how_an_image_is_like_the_training_images():
    def say(trained_for, *unlike):
        return likeness(SimpleNamespace(trained_for=trained_for, unlike_training=unlike))

    assert "cannot be told" in say(NOT_RECORDED)
    assert "is like the training images" in say("skin")
    warned = say("skin", "gray", "size")
    assert "unlike" in warned and warned.count("<li>") == 2
