"""Folds of a cross-validation: nobody in two folds, everybody once, classes spread, and what cannot be folded."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medssm_monai.data import DatalistError
from medssm_monai.data.datalists.folds import draw_folds, fold_parts

PARTS = ("training", "validation", "test")


def items(count: int, classes: int = 0, per_group: int = 0) -> list[dict]:
    """Names that are no series; of each class as many as the next has, groups of neighbors."""
    letters = np.random.default_rng(0).permutation(count)
    made = [{"name": f"{chr(97 + n % 26)}{letters[n]}x{chr(97 + n // 26)}", "image": f"{n}.png"} for n in range(count)]
    for n, item in enumerate(made):
        item |= {"label": n % classes} if classes else {}
        item |= {"group": f"patient {n // per_group}"} if per_group else {}
    return made


@pytest.mark.parametrize(("classes", "per_group"), [(0, 0), (0, 3), (3, 0), (3, 4)])
@pytest.mark.parametrize("folds", [2, 5])
def test_each_item_is_tested_once_and_no_group_is_in_two_parts(classes, per_group, folds):
    pool = items(60, classes, per_group)
    names = [f"class {n}" for n in range(classes)] or None
    found = fold_parts(pool, folds, seed=4, class_names=names)
    assert len(found) == folds
    assert Counter(item["name"] for lists, _ in found for item in lists["test"]) == Counter(i["name"] for i in pool)
    for lists, _ in found:
        assert sorted(item["name"] for part in PARTS for item in lists[part]) == sorted(item["name"] for item in pool)
        assert all(lists[part] for part in PARTS)
        groups = [{item["group"] for item in lists[part]} for part in PARTS] if per_group else []
        assert sum(map(len, groups)) == len(set().union(*groups))
        share = Counter(item["label"] for item in lists["test"]) if classes else {}
        assert all(abs(count - len(lists["test"]) / classes) <= 1 + per_group for count in share.values())
        assert not classes or len(share) == classes


def test_the_seed_decides():
    pool = items(40)
    drawn = [[[i["name"] for i in fold] for _, fold in draw_folds(pool, 4, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_frames_of_few_long_series_are_cut_in_blocks_and_short_series_stay_whole(caplog):
    frames = [{"name": f"video{v}_{n:03d}"} for v in "ab" for n in range(40)]
    for _, fold in draw_folds(frames, 4, 0):
        numbers = {v: sorted(int(i["name"][-3:]) for i in fold if f"video{v}" in i["name"]) for v in "ab"}
        assert all(own == list(range(own[0], own[0] + 10)) for own in numbers.values())
    assert "numbered in 2 series" in caplog.text and "contiguous" in caplog.text
    slices = [{"name": f"p{p:02d}_{n}"} for p in range(12) for n in range(5)]
    for _, fold in draw_folds(slices, 3, 0):
        assert set(Counter(i["name"][:3] for i in fold).values()) == {5}
    shuffled = draw_folds(frames, 4, 0, split="random")[0][1]
    assert sorted(int(i["name"][-3:]) for i in shuffled if "videoa" in i["name"]) != list(range(10))


@pytest.mark.parametrize(
    ("pool", "folds", "names", "message"),
    [
        (items(12, per_group=4), 5, None, "3 groups cannot make 5 folds"),
        (items(3), 4, None, "3 images cannot make 4 folds"),
        (items(9, 3), 4, ["a", "b", "c"], r"too few images for 4 folds: a \(3\), b \(3\), c \(3\); ask for fewer"),
        (items(3, 3), 4, ["a", "b", "c"], r"3 images cannot make 4 folds; too few images for 4 folds: a \(1\), b"),
        (items(8, per_group=4), 2, None, r"no validation part .*fold 1, 2: 1 group\(s\) cannot fill 2 parts"),
        (items(4, 2), 2, ["a", "b"], r"fold 1, 2: 2 problem\(s\) in the data.*too few images of a class"),
    ],
)
def test_what_cannot_be_folded_is_said_with_all_that_is_wrong(pool, folds, names, message):
    with pytest.raises(DatalistError, match=f"(?s){message}"):
        fold_parts(pool, folds, class_names=names)


@pytest.mark.parametrize("folds", [1, 0, 2.0, True])
def test_a_number_of_folds_is_2_or_more(folds):
    with pytest.raises(ValueError, match="must be 2 or more"):
        draw_folds(items(8), folds, 0)


def test_few_groups_give_one_of_them_to_the_validation():
    """Stratified groups are drawn by shares of 1/n; three groups are too few for the usual share."""
    for lists, _ in fold_parts(items(24, classes=2, per_group=8), 3, class_names=["a", "b"]):
        assert [len({item["group"] for item in lists[part]}) for part in PARTS] == [1, 1, 1]
