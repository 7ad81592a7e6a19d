"""Reasons of failures without what the files are called."""

from __future__ import annotations

import pytest

from medssm_monai.apps.bulk.worker import nameless

MANY = [f"/in/Anna 4711/{number}" for number in range(1, 41)]


@pytest.mark.parametrize(
    ("reason", "files", "expected"),
    [
        (
            "11 of 40 slices lack 1 value: /in/Anna 4711/11, and 3 more in /in/Anna 4711",
            MANY,
            "11 of 40 slices lack 1 value: (file 11 of 40), and 3 more in (input folder)",
        ),
        (
            "cannot open '/in/Anna.png': Anna.png, Anna.png2",
            ["/in/Anna.png"],
            "cannot open '(image)': (image), Anna.png2",
        ),
        ("a.png beside aa.png", ["/in/a.png", "/in/aa.png"], "(file 1 of 2) beside (file 2 of 2)"),
        ("48151623 is damaged at 4815", ["/in/48151623"], "(image) is damaged at 4815"),
        ("/in/x/a.png and /in/y/a.png", ["/in/x/a.png", "/in/y/a.png"], "(file 1 of 2) and (file 2 of 2)"),
        ("/a.png is / empty", ["/a.png"], "(image) is / empty"),
        ("file 1 of 2 (image)", ["/in/file", "/in/image"], "(file 1 of 2) 1 of 2 ((file 2 of 2))"),
    ],
)
def test_names_are_replaced_once_and_figures_stay(reason, files, expected):
    assert nameless(reason, files) == expected
