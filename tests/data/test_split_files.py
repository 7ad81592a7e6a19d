"""Split files, and splits that keep groups together."""

from __future__ import annotations

import json

import pytest

from medssm_monai.data import make_split, read_split, segmentation_datalists

from .builders import names, save_pairs


def test_ranges_mean_numeric_names_whatever_their_leading_zeros(tmp_path, caplog):
    save_pairs(tmp_path / "images", tmp_path / "masks", ["001", "002", "003", "4", "10", "extra", "1-2"])
    split = {"_note": "x", "training": ["1-3"], "validation": [4, "10"], "test": ["1-2"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    lists = segmentation_datalists(tmp_path, split_file=tmp_path / "split.json")
    assert names(lists["training"]) == ["001", "002", "003"]
    assert names(lists["validation"]) == ["4", "10"]
    assert names(lists["test"]) == ["1-2"]  # an exact name wins over a range
    assert "left out: extra" in caplog.text


def test_a_split_of_pranet_training_data_keeps_the_named_test_sets(tmp_path):
    save_pairs(tmp_path / "TrainDataset" / "images", tmp_path / "TrainDataset" / "masks", ["1", "2", "3"])
    save_pairs(tmp_path / "TestDataset" / "ETIS" / "images", tmp_path / "TestDataset" / "ETIS" / "masks", ["1"])
    (tmp_path / "split.json").write_text('{"training": ["1"], "validation": ["2-3"]}')
    lists = segmentation_datalists(tmp_path, split_file=tmp_path / "split.json")
    assert (names(lists["training"]), names(lists["validation"])) == (["1"], ["2", "3"])
    assert [item["dataset"] for item in lists["test"]] == ["ETIS"]


@pytest.mark.parametrize("group", [r"^(p\d+)_", lambda name: name.split("_")[0]])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_never_torn_apart(group, seed, tmp_path):
    items = [{"name": f"p{patient}_{frame}"} for patient in range(12) for frame in range(1 + patient % 5)]
    split = make_split(items, (0.6, 0.2, 0.2), group, seed, tmp_path / "split.json")
    part_of = {}
    for part, members in split.items():
        for name in members:
            assert part_of.setdefault(name.split("_")[0], part) == part
    assert sorted(sum(split.values(), [])) == sorted(item["name"] for item in items)
    assert abs(len(split["training"]) / len(items) - 0.6) < 0.1
    assert read_split(tmp_path / "split.json") == split
    assert make_split(items[::-1], (0.6, 0.2, 0.2), group, seed) == split


def test_seeds_differ_and_no_group_means_single_names():
    items = [str(i) for i in range(100)]
    first, second = make_split(items, seed=0), make_split(items, seed=1)
    assert first != second
    assert [len(first[part]) for part in ("training", "validation", "test")] == [70, 15, 15]


def test_a_part_is_never_empty_while_there_are_groups_for_it():
    split = make_split([f"big_{i}" for i in range(90)] + ["b_1", "c_1"], group=r"^([a-z]+)_")
    assert sorted(map(len, split.values())) == [1, 1, 90]


@pytest.mark.parametrize(
    ("items", "kwargs", "message"),
    [
        (["a", "a", "b"], {}, "unique"),
        (["a", "b", "c"], {"fractions": (0.5, 0.5)}, "three shares"),
        (["a", "b", "c"], {"fractions": (0.9, 0.2, -0.1)}, "three shares"),
        (["a1", "b1", "c"], {"group": r"(\d)"}, "does not match the name 'c'"),
        (["a1", "a2"], {"group": r"(a)"}, r"1 group\(s\) cannot fill 3 parts"),
    ],
)
def test_bad_requests(items, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_split(items, **kwargs)
