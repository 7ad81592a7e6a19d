"""One rule for all splits: stratified, grouped, seeded; neighboring names kept together and said."""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest

from medssm_monai.data import DatalistError, classification_datalists, fusion_datalists, segmentation_datalists
from medssm_monai.data.datalists.classification_split_rules import random_parts
from medssm_monai.data.datalists.folder_names import part_folders
from medssm_monai.data.datalists.split_rules import draw_parts, name_series

from .builders import names, picture, save, save_pairs
from .class_builders import save_classes

PARTS = ("training", "validation", "test")
WORDS = ["oak", "elm", "ash", "fir", "yew", "box", "bay", "fig", "nut", "hop", "ivy", "may", "sloe", "pear", "plum"]


def pairs(*stems: str) -> list[dict[str, str]]:
    return [{"name": stem} for stem in stems]


def drawn(items, **options) -> dict[str, list[str]]:
    lists, _ = draw_parts(items, **options)
    return {part: names(lists[part]) for part in PARTS}


@pytest.mark.parametrize("split", ["auto", "random"])
def test_names_without_numbers_are_shuffled_by_seed(split):
    items = pairs(*sorted(f"{a}{b}" for a in WORDS for b in WORDS[:8]))
    first, second = drawn(items, split=split, seed=0), drawn(items, split=split, seed=1)
    assert [len(first[part]) for part in PARTS] == [84, 18, 18]
    assert first == drawn(items, split=split, seed=0) != second
    assert sorted(sum(first.values(), [])) == names(items)
    beginnings = Counter(name[:2] for name in first["test"])
    assert len(beginnings) > 5  # no block of neighboring names


@pytest.mark.parametrize("count", range(3, 12))
def test_no_part_is_empty_from_three_images_on(count):
    for split in ("random", "by_name"):
        assert all(drawn(pairs(*WORDS[:count]), split=split).values())


@pytest.mark.parametrize(
    ("stems", "series"),
    [
        ([str(i) for i in range(1, 613)], 1),
        ([f"v_{i:04d}" for i in range(0, 300, 10)], 1),  # every 10th frame
        ([f"{kind} ({i})" for kind in ("benign", "malignant", "normal") for i in range(1, 30)], 3),
        ([f"p{p}_{i}" for p in range(20) for i in range(4)], 20),
        ([str(n * n * 7919 % 999_983) for n in range(2, 60)], None),  # numbers, but no series
        ([f"a{word}" for word in WORDS], None),
        (["cju0u82z3cuma0835wlxrnrjv", "cju0v70ip5h2i0801xuzuj2yt", "cju1amqw6p8pw0993d9gc5crl"], None),
    ],
)
def test_which_names_are_series(stems, series):
    found = name_series(stems)
    assert (None if found is None else len(found)) == series


def test_one_series_is_cut_in_blocks_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        parts = drawn(pairs(*[f"f{i}" for i in range(1, 21)]))
    assert parts["validation"] == ["f15", "f16", "f17"] and parts["test"] == ["f18", "f19", "f20"]
    assert "1 series (f1 ... f20)" in caplog.text


def test_few_long_series_are_each_cut_so_that_every_part_has_every_series():
    stems = [f"{kind}_{i:02d}" for kind in ("a", "b", "c") for i in range(20)]
    parts = drawn(pairs(*stems))
    for part, count in zip(PARTS, (14, 3, 3), strict=True):
        assert Counter(name[0] for name in parts[part]) == {"a": count, "b": count, "c": count}
    assert [name for name in parts["test"] if name[0] == "b"] == ["b_17", "b_18", "b_19"]


@pytest.mark.parametrize(("series", "length"), [(20, 4), (12, 40), (5, 4)])
def test_many_or_short_series_stay_whole(series, length):
    parts = drawn(pairs(*[f"p{p}_{i}" for p in range(series) for i in range(length)]))
    of = {part: {name.split("_")[0] for name in parts[part]} for part in PARTS}
    assert (
        not of["training"] & of["validation"] and not of["training"] & of["test"] and not of["validation"] & of["test"]
    )
    assert all(of.values())


def test_random_says_nothing_and_tears_frames(caplog):
    with caplog.at_level(logging.WARNING):
        parts = drawn(pairs(*[f"f{i}" for i in range(1, 41)]), split="random")
    assert not caplog.text
    assert parts["test"] != [f"f{i}" for i in range(35, 41)]


def test_groups_of_a_table_stay_whole_in_segmentation_and_fusion(tmp_path):
    stems = [f"{word}{i}" for word in WORDS[:8] for i in range(3)]
    save_pairs(tmp_path / "images", tmp_path / "masks", stems)
    for stem in stems:
        save(picture(), tmp_path / "pairs" / "A" / f"{stem}.png")
        save(picture(), tmp_path / "pairs" / "B" / f"{stem}.png")
    table = "Image;patient\r\n" + "".join(f"{stem}.png;{stem[:3]}\r\n" for stem in stems)
    (tmp_path / "groups.csv").write_text(table)
    options = {"group_column": "patient", "metadata_file": tmp_path / "groups.csv"}
    for lists in (
        segmentation_datalists(tmp_path, **options, check=False),
        fusion_datalists(tmp_path / "pairs", ("A", "B"), **options),
    ):
        of = [{name[:3] for name in names(lists[part])} for part in PARTS]
        assert sum(map(len, of)) == 8 == len(set().union(*of))
        assert all(of)
    (tmp_path / "split.json").write_text(json.dumps({"training": stems[:4], "validation": stems[4:]}))
    with pytest.raises(DatalistError, match="group in two parts"):
        segmentation_datalists(tmp_path, split_file=tmp_path / "split.json", **options, check=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_parts(pairs("a", "b", "c"), "blocks"), "split must be one of auto, random, by_name"),
        (lambda: draw_parts(pairs("a", "b", "c"), "auto", (0.5, 0.5)), "three shares"),
        (lambda: draw_parts([{"name": "a", "group": "1"}, {"name": "b", "group": "1"}]), r"1 group\(s\)"),
    ],
)
def test_bad_requests(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((3, 3), ([1, 1], [1, 1], [1, 1])),
        ((5,) * 8, ([3] * 8, [1] * 8, [1] * 8)),
        ((40, 3), ([28, 1], [6, 1], [6, 1])),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_class_is_in_each_part_from_three_images_on(tmp_path, counts, expected, seed):
    save_classes(tmp_path, {f"class_{c}": n for c, n in zip("abcdefgh", counts, strict=False)})
    lists = classification_datalists(tmp_path, seed=seed)
    assert tuple(lists.counts(part) for part in PARTS) == expected
    assert lists == classification_datalists(tmp_path, seed=seed)


@pytest.mark.parametrize("rare", [1, 2])
def test_classes_with_fewer_images_than_parts_are_one_error_by_name_with_counts(tmp_path, rare):
    save_classes(tmp_path, {"many": 30, "few": rare, "also": rare})
    with pytest.raises(DatalistError, match=r"too few images of a class \(2\)") as caught:
        classification_datalists(tmp_path)
    assert [(problem.path, problem.detail.split(",")[0]) for problem in caught.value.problems] == [
        ("also", f"{rare} image{'s' * (rare > 1)}"),
        ("few", f"{rare} image{'s' * (rare > 1)}"),
    ]
    assert len(classification_datalists(tmp_path, class_names=["many", "few"], fractions=(1.0, 0, 0), require=())) == 3


def test_large_classes_are_split_as_scikit_learn_does():
    from sklearn.model_selection import train_test_split

    pool = [{"name": str(i), "image": str(i), "label": i % 3} for i in range(120)]
    labels = [item["label"] for item in pool]
    _, held = train_test_split(range(120), test_size=0.15, stratify=labels, random_state=4)
    assert names(random_parts(pool, (0.7, 0.15, 0.15), 4)["test"]) == [str(i) for i in sorted(held)]


def test_groups_are_chosen_so_that_the_parts_have_the_classes():
    pool = [
        {"name": f"{g}_{i}", "image": f"{g}_{i}", "label": int(g >= 26), "group": str(g)}
        for g in range(30)
        for i in range(2)
    ]
    for seed in range(5):
        lists = random_parts(pool, (0.7, 0.15, 0.15), seed)
        for part in PARTS:
            assert {item["label"] for item in lists[part]} == {0, 1}
        of = [{item["group"] for item in lists[part]} for part in PARTS]
        assert sum(map(len, of)) == 30


def test_a_part_without_a_class_is_said_with_counts(tmp_path, caplog):
    sets = {"Training": {"a": 4, "b": 4}, "val": {"a": 2, "b": 2}, "test": {"a": 2}}
    for number, (part, classes) in enumerate(sets.items()):
        save_classes(tmp_path / part, classes, seed=number * 10_000)
    names_file = tmp_path / "split.json"
    names_file.write_text(
        json.dumps(
            {
                "training": ["Training/a/a-0", "Training/b/b-0"],
                "validation": ["val/a/a-0"],
                "test": ["Training/a/a-1", "Training/b/b-1"],
            }
        )
    )
    save_classes(tmp_path / "test", {"b": 1}, seed=5_000_000)
    with caplog.at_level(logging.WARNING):
        classification_datalists(tmp_path, split_file=names_file)
    assert "validation part: no image of b (2 in all parts); some metrics are undefined there" in caplog.text


def test_names_of_patients_in_a_drawn_classification_are_said(tmp_path, caplog):
    files = [f"{label}/{label}{patient}_{view}.png" for label in "ab" for patient in range(6) for view in range(2)]
    for seed, file in enumerate(files):
        save(picture(seed=seed), tmp_path / file)
    with caplog.at_level(logging.WARNING):
        classification_datalists(tmp_path)
    assert "12 beginnings of names come several times (a0_...: 2 images)" in caplog.text
    assert "group_column" in caplog.text


def test_classes_called_like_numbers(tmp_path):
    save_classes(tmp_path, {"1": 6, "2": 6})
    assert classification_datalists(tmp_path, class_names=[2, 1]).class_names == ["2", "1"]


def test_a_part_has_the_first_of_its_names(tmp_path):
    for name in ("Validation", "training", "Train", "valid", "images"):
        (tmp_path / name).mkdir()
    (tmp_path / "test").touch()
    assert part_folders(tmp_path) == {"training": tmp_path / "Train", "validation": tmp_path / "valid"}
