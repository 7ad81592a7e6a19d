"""The command that writes split files, and the trainings' readers that take them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from medssm_monai.data import classification_datalists, fusion_datalists, read_split, segmentation_datalists
from medssm_monai.data.split import main

from .builders import names, picture, save, save_pairs
from .class_builders import save_classes, save_npz

PARTS = ("training", "validation", "test")


def read(path) -> dict[str, list[str]]:
    return read_split(path)


def test_classes_by_per_cent_and_seed(tmp_path, caplog):
    save_classes(tmp_path / "set", {"a": 20, "b": 40})
    out = tmp_path / "out" / "split.json"
    with caplog.at_level(logging.INFO):
        assert main([str(tmp_path / "set"), "-o", str(out), "--parts", "60", "20", "20", "--seed", "3"]) == 0
    lists = classification_datalists(tmp_path / "set", split_file=out)
    assert [lists.counts(part) for part in PARTS] == [[12, 24], [4, 8], [4, 8]]
    assert "36 training (a 12, b 24), 12 validation (a 4, b 8), 12 test (a 4, b 8)" in caplog.text
    first = out.read_text()
    assert main([str(tmp_path / "set"), "-o", str(out), "--parts", ".6", ".2", ".2", "--seed", "3"]) == 0
    assert read(out) == {part: json.loads(first)[part] for part in PARTS}
    assert main([str(tmp_path / "set"), "-o", str(out), "--parts", "60", "20", "20", "--seed", "4"]) == 0
    assert out.read_text() != first


def save_groups(path, stems, group):
    path.write_text("image,patient\n" + "".join(f"{stem},{group(stem)}\n" for stem in stems))
    return path


@pytest.mark.parametrize("how", ["table", "pattern"])
def test_groups_stay_whole_and_folds_cover_everything_once(tmp_path, how):
    stems = [f"p{p}v{v}" for p in range(8) for v in range(3)]
    save_pairs(tmp_path / "set" / "images", tmp_path / "set" / "masks", stems)
    table = save_groups(tmp_path / "groups.csv", stems, lambda stem: stem[:2])
    groups = ["--groups", str(table)] if how == "table" else ["--group_pattern", r"^(p\d)"]
    assert main([str(tmp_path / "set"), "-o", str(tmp_path / "s.json"), "--folds", "4", *groups]) == 0
    tested: list[str] = []
    for number in range(1, 5):
        split = read(tmp_path / f"s_fold{number}.json")
        of = [{name[:2] for name in split[part]} for part in PARTS]
        assert sum(map(len, of)) == 8 and all(of)
        lists = segmentation_datalists(tmp_path / "set", split_file=tmp_path / f"s_fold{number}.json", check=False)
        assert {part: names(lists[part]) for part in PARTS} == split
        tested += split["test"]
    assert sorted(tested) == sorted(stems)
    assert not (tmp_path / "s_fold5.json").exists()


def test_stratified_folds_of_grouped_classes(tmp_path):
    save_classes(tmp_path / "set", {"a": 12, "b": 12})
    stems = [f"{label}-{i}" for label in "ab" for i in range(12)]
    table = save_groups(tmp_path / "g.csv", stems, lambda stem: f"{stem[0]}{int(stem[2:]) // 2}")
    assert main([str(tmp_path / "set"), "-o", str(tmp_path / "s.json"), "--folds", "3", "--groups", str(table)]) == 0
    for number in (1, 2, 3):
        split = read(tmp_path / f"s_fold{number}.json")
        assert sorted(name[0] for name in split["test"]) == ["a"] * 4 + ["b"] * 4
        owner: dict[str, str] = {}
        for part, name in [(part, name) for part, listed in split.items() for name in listed]:
            group = f"{name[0]}{int(name.split('-')[1]) // 2}"
            assert owner.setdefault(group, part) == part


@pytest.mark.parametrize("folds", [None, 2])
def test_an_official_test_part_stays(tmp_path, folds):
    save_classes(tmp_path / "set" / "Training", {"a": 10, "b": 10})
    save_classes(tmp_path / "set" / "Testing", {"a": 3, "b": 3}, seed=50_000)
    words = [str(tmp_path / "set"), "-o", str(tmp_path / "s.json"), *(["--folds", "2"] if folds else [])]
    assert main(words) == 0
    for file in sorted(tmp_path.glob("s*.json")):
        split = read(file)
        assert sorted(split["test"]) == sorted(f"Testing/{c}/{c}-{i}" for c in "ab" for i in range(3))
        assert len(split["training"]) + len(split["validation"]) == 20
        assert classification_datalists(tmp_path / "set", split_file=file)


def test_pairs_and_arrays(tmp_path):
    stems = ["oak", "elm", "ash", "fir", "yew", "box"]
    for stem in stems:
        save(picture(), tmp_path / "pairs" / "A" / f"{stem}.png")
        save(picture(), tmp_path / "pairs" / "B" / f"{stem}.png")
    out = tmp_path / "s.json"
    assert main([str(tmp_path / "pairs"), "-o", str(out), "--sources", "A", "B"]) == 0
    lists = fusion_datalists(tmp_path / "pairs", ("A", "B"), split_file=out)
    assert sorted(sum((names(lists[part]) for part in PARTS), [])) == sorted(stems)
    file = save_npz(tmp_path / "breastmnist.npz")
    assert main([str(file), "-o", str(out)]) == 0
    assert [len(names(classification_datalists(file, split_file=out)[part])) for part in PARTS] == [
        len(read(out)[part]) for part in PARTS
    ]


def test_names_that_are_no_utf8_come_back(tmp_path):
    import os

    save_pairs(tmp_path / "set" / "images", tmp_path / "set" / "masks", ["a", "b", "ü"])
    for folder in ("images", "masks"):
        root = os.fsencode(tmp_path / "set" / folder)
        os.rename(os.path.join(root, b"a.png"), os.path.join(root, b"gr\xfcn.png"))
    assert main([str(tmp_path / "set"), "-o", str(tmp_path / "s.json")]) == 0
    lists = segmentation_datalists(tmp_path / "set", split_file=tmp_path / "s.json")
    assert {os.fsencode(name) for part in PARTS for name in names(lists[part])} == {b"gr\xfcn", b"b", "ü".encode()}
    assert '"ü"' in (tmp_path / "s.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "10"], "too few images for 10 folds: a \\(4\\), b \\(8\\)"),
        (["--folds", "1"], "--folds must be 2 or more"),
        (["--parts", "0", "0", "0"], "three shares"),
        (["--groups", "nowhere.csv"], "nowhere.csv"),
        (["--group_pattern", "(x)"], "finds no group in"),
    ],
)
def test_what_cannot_be_split_is_one_line_and_no_file(tmp_path, capsys, words, message):
    save_classes(tmp_path / "set", {"a": 4, "b": 8})
    assert main([str(tmp_path / "set"), "-o", str(tmp_path / "s.json"), *words]) == 2
    import re

    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.glob("*.json"))


def test_it_is_a_command(tmp_path):
    save_classes(tmp_path / "set", {"a": 4, "b": 4})
    words = [sys.executable, "-m", "medssm_monai.data.split", str(tmp_path / "set"), "-o", str(tmp_path / "s.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "(a 2, b 2)" in done.stderr and "Warning" not in done.stderr
    assert set(read(tmp_path / "s.json")) == set(PARTS)
