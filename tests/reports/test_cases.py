from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from medssm_monai.reports.cases import case_label, choose_cases, write_case_pictures

SCORES = {"a": 0.5, "b": 0.1, "c": 0.9, "d": 0.3, "e": math.nan, "f": 0.7, "g": 0.2, "h": 0.8, "i": 0.4, "j": 0.6}


def named(cases, kind):
    return [case["image"] for case in cases if case["kind"] == kind]


def test_worst_median_and_best_of_nine() -> None:
    cases = choose_cases(SCORES, 3)
    assert [named(cases, kind) for kind in ("worst", "median", "best")] == [
        ["b", "g", "d"],
        ["i", "a", "j"],
        ["c", "h", "f"],
    ]
    assert cases[0] == {"kind": "worst", "image": "b", "score": 0.1}
    lower = choose_cases(SCORES, 1, higher_is_better=False)
    assert [named(lower, kind) for kind in ("worst", "median", "best")] == [["c"], ["a"], ["b"]]


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(0, []), (1, ["worst"]), (2, ["worst", "best"]), (3, ["worst", "median", "best"]), (7, ["worst"] * 2)],
)
def test_few_cases_are_shared_among_the_kinds(count: int, chosen: list[str]) -> None:
    cases = choose_cases({str(i): float(i) for i in range(count)}, 3)
    assert len({case["image"] for case in cases}) == len(cases)
    assert [case["kind"] for case in cases][: len(chosen)] == chosen
    if count:
        assert cases[0]["image"] == "0" and (count == 1 or named(cases, "best")[0] == str(count - 1))


def test_none_are_wanted_or_defined() -> None:
    assert choose_cases(SCORES, 0) == [] and choose_cases({"a": math.nan}, 2) == []


def test_files_are_named_by_kind_and_case(tmp_path) -> None:
    cases = choose_cases({"/x/b c.nii.gz": 0.25, "/x/a.png": 0.5}, 1)
    panels = [np.full((10, 20, 3), value, dtype=np.uint8) for value in (1, 200)]
    write_case_pictures(cases, panels, tmp_path / "cases", columns=1)
    assert sorted(path.name for path in (tmp_path / "cases").iterdir()) == ["01_worst_b-c.png", "02_best_a.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "cases" / "02_best_a.png")), panels[1])
    assert Image.open(tmp_path / "cases.png").size == (20 + 16, 2 * 18 + 8)
    assert case_label(cases[0], "dice") == "worst: dice 0.250, b c.nii.gz"
