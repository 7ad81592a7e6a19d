from __future__ import annotations

import pytest

from medssm_monai.utils.switches import switch


@pytest.mark.parametrize(
    ("given", "expected"), [(True, True), (False, False), ("true", True), ("True", True), ("false", False)]
)
def test_words_of_yaml_are_switches_too(given, expected):
    assert switch(given, "resume") is expected


@pytest.mark.parametrize("given", ["eval/run", "yes", 1, 0, None, ""])
def test_anything_else_is_refused_with_the_remedy(given):
    with pytest.raises(ValueError, match=r"resume is .*; it takes True or False\. Give a folder elsewhere\."):
        switch(given, "resume", "Give a folder elsewhere.")
