"""Datalists of registered pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from medssm_monai.data import DatalistError, fusion_datalists

from .builders import names, picture, save

NIFTI = ("_t1ce", "_flair")


def save_sources(root: Path, stems, sources=("MRI", "CT"), suffix=".png") -> None:
    for stem in stems:
        for source in sources:
            save(picture(), root / source / f"{stem}{suffix}")


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_part_folders_and_every_tenth_training_pair_for_validation(tmp_path):
    save_sources(tmp_path / "train", range(1, 22))
    save_sources(tmp_path / "Test", ["x", "y"])
    lists = fusion_datalists(tmp_path, ("MRI", "CT"), split="by_name")
    assert names(lists["validation"]) == ["1", "11", "21"]
    assert names(lists["training"]) == [str(n) for n in range(1, 22) if n not in (1, 11, 21)]
    assert names(lists["test"]) == ["x", "y"]
    first = lists["test"][0]
    assert first == {
        "image_a": str(tmp_path / "Test" / "MRI" / "x.png"),
        "image_b": str(tmp_path / "Test" / "CT" / "x.png"),
        "name": "x",
    }


@pytest.mark.parametrize(("split", "expected"), [("auto", ["20", "21"]), ("random", None)])
def test_a_missing_validation_part_is_a_tenth_of_the_training_folder(tmp_path, split, expected):
    save_sources(tmp_path / "train", range(1, 22))
    lists = fusion_datalists(tmp_path, ("MRI", "CT"), split=split)
    assert len(lists["training"]) == 19 and len(lists["validation"]) == 2 and not lists["test"]
    assert expected is None or names(lists["validation"]) == expected
    assert sorted(names(lists["training"] + lists["validation"]), key=int) == [str(n) for n in range(1, 22)]


def test_two_folders_are_cut_in_blocks_and_order_is_that_of_the_sources(tmp_path):
    save_sources(tmp_path, range(1, 11))
    lists = fusion_datalists(tmp_path, ("CT", "mri"))
    assert [len(lists[part]) for part in ("training", "validation", "test")] == [7, 1, 2]
    assert names(lists["training"] + lists["validation"] + lists["test"]) == [str(n) for n in range(1, 11)]
    assert "/CT/" in lists["training"][0]["image_a"] and "/MRI/" in lists["training"][0]["image_b"]


def test_suffixes_may_differ_between_the_sources(tmp_path):
    save_sources(tmp_path / "test", "ab", ("MRI",), ".tif")
    save_sources(tmp_path / "test", "ab", ("PET",), ".png")
    lists = fusion_datalists(tmp_path, ("MRI", "PET"), require=("test",))
    assert names(lists["test"]) == ["a", "b"]


def test_nifti_by_ending_in_subject_folders(tmp_path):
    for subject in ("S1", "S2", "S10"):
        for ending in ("_t1", "_t1ce", "_flair", "_seg"):
            touch(tmp_path / subject / f"{subject}{ending}.nii.gz")
    lists = fusion_datalists(tmp_path, NIFTI, split="by_name")
    assert [names(lists[part]) for part in ("training", "validation", "test")] == [["S1"], ["S2"], ["S10"]]
    assert lists["training"][0]["image_b"] == str(tmp_path / "S1" / "S1_flair.nii.gz")


def test_split_file(tmp_path):
    save_sources(tmp_path, "abcd")
    (tmp_path / "split.json").write_text('{"training": ["a", "d"], "validation": ["b"], "test": ["c"]}')
    lists = fusion_datalists(tmp_path, ("MRI", "CT"), split_file=tmp_path / "split.json")
    assert {part: names(items) for part, items in lists.items()} == {
        "training": ["a", "d"],
        "validation": ["b"],
        "test": ["c"],
    }


@pytest.mark.parametrize("nifti", [False, True])
def test_every_unpaired_name_is_in_one_error(tmp_path, nifti):
    if nifti:
        sources, suffix = NIFTI, ".nii.gz"
        paths = {stem: [tmp_path / f"{stem}{s}{suffix}" for s in sources] for stem in "abcdef"}
    else:
        sources, suffix = ("MRI", "CT"), ".png"
        paths = {stem: [tmp_path / s / f"{stem}{suffix}" for s in sources] for stem in "abcdef"}
    lonely = [paths["b"][0], paths["d"][1], paths["e"][0]]
    left_out = [paths["b"][1], paths["d"][0], paths["e"][1]]
    for path in (p for both in paths.values() for p in both if p not in left_out):
        touch(path)
    with pytest.raises(DatalistError) as caught:
        fusion_datalists(tmp_path, sources)
    assert {problem.kind for problem in caught.value.problems} == {"image without partner"}
    assert sorted(problem.path for problem in caught.value.problems) == sorted(map(str, lonely))
    assert "same name" in str(caught.value)


def test_unpaired_names_of_all_parts_and_double_names(tmp_path):
    save_sources(tmp_path / "train", "abc")
    save_sources(tmp_path / "test", "xy")
    (tmp_path / "train" / "CT" / "a.png").unlink()
    (tmp_path / "test" / "MRI" / "x.png").unlink()
    save(picture(), tmp_path / "test" / "CT" / "y.tif")
    with pytest.raises(DatalistError) as caught:
        fusion_datalists(tmp_path, ("MRI", "CT"))
    found = {(problem.kind, Path(problem.path).name) for problem in caught.value.problems}
    assert found == {
        ("image without partner", "a.png"),
        ("image without partner", "x.png"),
        ("two files with one name", "y.tif"),
    }


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        (("MRI", "SPECT"), DatalistError, "no folder 'SPECT'.*ct.*mri"),
        (("_t1", "_t2"), DatalistError, "ending _t1"),
        (("MRI", "_t1"), ValueError, "two folders or two endings"),
        (("MRI", "MRI"), ValueError, "two different"),
        ("MRI", ValueError, "two different"),
    ],
)
def test_bad_sources_are_named(tmp_path, sources, error, message):
    save_sources(tmp_path, "abc")
    with pytest.raises(error, match=message):
        fusion_datalists(tmp_path, sources)


def test_bad_folders_and_parts_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fusion_datalists(tmp_path / "nowhere", ("MRI", "CT"))
    save_sources(tmp_path / "test", "ab")
    with pytest.raises(DatalistError, match="empty part"):
        fusion_datalists(tmp_path, ("MRI", "CT"))
    with pytest.raises(ValueError, match="train"):
        fusion_datalists(tmp_path, ("MRI", "CT"), require=("train",))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "sources", "counts"),
    [
        ("harvard_mri_ct", ("MRI", "CT"), (144, 16, 24)),
        ("harvard_mri_pet", ("MRI", "PET"), (220, 25, 24)),
        ("brats_like", NIFTI, (1, 0, 1)),
    ],
)
def test_real_pairs(real_data, folder, sources, counts):
    if not (real_data / folder).is_dir():
        pytest.skip(f"no {folder} in {real_data}")
    lists = fusion_datalists(real_data / folder, sources, require=("test",), split="by_name")
    assert tuple(len(items) for items in lists.values()) == counts
    assert all(
        Path(item[key]).is_file() for items in lists.values() for item in items for key in ("image_a", "image_b")
    )
