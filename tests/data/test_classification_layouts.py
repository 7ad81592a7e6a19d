"""Classification datalists: every layout becomes labelled images, in the parts it should."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from medssm_monai.data import classification_datalists, write_split
from medssm_monai.data.datalists.medmnist_facts import MEDMNIST

from .builders import names, picture, save
from .class_builders import npz_arrays, save_classes, save_isic, save_npz

PARTS = ("training", "validation", "test")


@pytest.mark.parametrize("inner", ["", "images"])
def test_class_folders_are_split_stratified(tmp_path, inner):
    save_classes(tmp_path, {"Viral Pneumonia": 20, "Normal": 40}, inner)
    for name in ("masks",) if inner else ():
        save(picture(), tmp_path / "Normal" / name / "Normal-0.png")
    lists = classification_datalists(tmp_path, fractions=(0.6, 0.2, 0.2))
    assert lists.class_names == ["Normal", "Viral Pneumonia"]
    assert [lists.counts(part) for part in PARTS] == [[24, 12], [8, 4], [8, 4]]
    every = sum(lists.values(), [])
    assert len({item["image"] for item in every}) == len(set(names(every))) == 60
    for item in every:
        assert Path(item["image"]).is_file()
        assert Path(item["image"]).stem.startswith(lists.class_names[item["label"]])


def test_the_same_seed_draws_the_same_split_another_seed_another_one(tmp_path):
    save_classes(tmp_path, {"a": 20, "b": 20})
    first, again, other = (classification_datalists(tmp_path, seed=seed) for seed in (3, 3, 4))
    assert first == again != other
    assert "seed 3" in first.rule


@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        (("Training", "Testing"), (33, 7, 10)),  # validation 0.15 / 0.85 of training
        (("train", "valid", "test"), (40, 10, 10)),
        (("train", "val"), (34, 10, 6)),
    ],
)
def test_official_parts_stay_and_the_missing_one_is_cut_from_training(tmp_path, folders, sizes):
    for seed, folder in enumerate(folders):
        count = 20 if folder.lower().startswith("train") else 5
        save_classes(tmp_path / folder, {"a": count, "b": count}, seed=10_000 * seed)
    lists = classification_datalists(tmp_path, fractions=(0.7, 0.15, 0.15))
    assert sum(map(len, lists.values())) == sum(sizes)
    for part, size in zip(PARTS, sizes, strict=True):
        assert abs(len(lists[part]) - size) <= 1
    if "Testing" in folders:
        assert {Path(item["image"]).parents[1].name for item in lists["test"]} == {"Testing"}


def test_split_counts_take_the_first_the_next_and_the_last_by_name_in_string_order(tmp_path):
    save_classes(tmp_path, {"a": 12, "b": 13})
    lists = classification_datalists(tmp_path, split_counts=(3, 2, 4))
    in_order = sorted(f"a-{i}.png" for i in range(12))
    assert in_order[:3] == ["a-0.png", "a-1.png", "a-10.png"]
    files = {part: [Path(i["image"]).name for i in lists[part] if i["label"] == 0] for part in PARTS}
    assert files == {"training": in_order[:3], "validation": in_order[3:5], "test": in_order[-4:]}


def test_near_duplicates_are_dropped_from_training(tmp_path):
    for seed, folder in enumerate(("Training", "Testing")):
        save_classes(tmp_path / folder, {"a": 10, "b": 10}, seed=10_000 * seed)
    listed = ["Training/a/a-3.png", "Training/b/b-7.png"]
    rows = "".join(f"Testing/a/a-{i}.png\t{name}\t0.99\n" for i, name in enumerate(listed))
    (tmp_path / "near_duplicates.tsv").write_text("test_file\ttrain_file\tcorr\n" + rows)
    lists = classification_datalists(tmp_path)
    kept = {item["image"] for item in lists["training"] + lists["validation"]}
    assert len(kept) == 18
    assert not kept & {str(tmp_path / name) for name in listed}
    assert len(classification_datalists(tmp_path, drop_list=None)["training"]) > len(lists["training"])


def test_isic_table_with_lesions_kept_together(tmp_path, caplog):
    table = save_isic(tmp_path, 60)
    lists = classification_datalists(tmp_path, group_column="lesion_id", seed=1)
    assert lists.class_names == ["MEL", "NV", "BCC"]  # UNK has no row
    truth = table.set_index("image")
    for part in PARTS:
        assert set(item["label"] for item in lists[part]) == {0, 1, 2}
        for item in lists[part]:
            assert truth.loc[item["name"], lists.class_names[item["label"]]] == 1
    part_of = {item["group"]: part for part in PARTS for item in lists[part]}
    assert len(part_of) == 31  # 29 pairs, two images without a lesion
    assert all(part_of[item["group"]] == part for part in PARTS for item in lists[part])
    assert "2 image(s) have no lesion_id" in caplog.text


def test_a_plain_draw_would_tear_lesions_apart(tmp_path):
    save_isic(tmp_path, 60)
    lists = classification_datalists(tmp_path)
    parts = {}
    for part in PARTS:
        for name in names(lists[part]):
            parts.setdefault(int(name[-7:]) // 2, set()).add(part)
    assert any(len(where) > 1 for where in parts.values())


def test_one_yes_no_column_makes_two_classes(tmp_path):
    for i in range(20):
        save(picture(seed=i), tmp_path / "ISIC-2017_Training_Data" / f"ISIC_{i}.jpg")
    rows = "".join(f"ISIC_{i},{float(i % 4 == 0)}\n" for i in range(20))
    (tmp_path / "ISIC-2017_Training_Classes.csv").write_text("image_id,melanoma\n" + rows)
    lists = classification_datalists(tmp_path, require=("training",))
    assert lists.class_names == ["no melanoma", "melanoma"]
    assert Counter(item["label"] for item in sum(lists.values(), [])) == {0: 15, 1: 5}


@pytest.mark.parametrize("subset", ["breast", "BreastMNIST", "breastmnist"])
@pytest.mark.parametrize("flat", [False, True])
def test_medmnist_official_split_and_both_label_shapes(tmp_path, subset, flat):
    arrays = npz_arrays()
    if flat:
        arrays |= {key: value[:, 0] for key, value in arrays.items() if key.endswith("labels")}
    save_npz(tmp_path / "breastmnist.npz", **arrays)
    save_npz(tmp_path / "pneumoniamnist.npz")
    lists = classification_datalists(tmp_path, subset=subset)
    assert (lists.name, lists.class_names) == ("breastmnist", ["malignant", "normal, benign"])
    assert [len(lists[part]) for part in PARTS] == [8, 4, 4]
    assert [item["label"] for item in lists["test"]] == arrays["test_labels"].ravel().tolist()
    assert lists["training"][5]["image"] == (tmp_path / "breastmnist.npz/train_images/5").as_posix()


@pytest.mark.parametrize("name", ["breast", "pneumonia", "blood", "derma", "organc", "organs"])
def test_all_six_sets_are_known_with_a_sum_for_every_size(name):
    facts = MEDMNIST[f"{name}mnist"]
    assert set(facts.md5) == {28, 64, 128, 224}
    assert len({*facts.md5.values(), *facts.earlier}) == 4 + len(facts.earlier)
    assert all(len(md5) == 32 and int(md5, 16) for md5 in facts.md5.values())
    assert len(facts.classes) == {"blood": 8, "derma": 7, "organc": 11, "organs": 11}.get(name, 2)


def test_of_several_sizes_one_must_be_named(tmp_path):
    for size, stem in ((10, "breastmnist"), (20, "breastmnist_64")):
        save_npz(tmp_path / f"{stem}.npz", **npz_arrays(shape=(size, size)))
    assert classification_datalists(tmp_path, subset="breastmnist_64").name == "breastmnist_64"
    assert classification_datalists(tmp_path, subset="breastmnist").name == "breastmnist"
    with pytest.raises(ValueError, match="full name"):
        classification_datalists(tmp_path, subset="breast")


def test_a_recorded_split_is_taken_again(tmp_path):
    save_classes(tmp_path / "set", {"a": 10, "b": 10})
    lists = classification_datalists(tmp_path / "set", seed=5)
    path = write_split(lists, tmp_path / "split.json")
    assert json.loads(path.read_text())["_rule"] == lists.rule
    again = classification_datalists(tmp_path / "set", split_file=path, seed=99)
    assert {part: set(names(items)) for part, items in again.items()} == {
        part: set(names(items)) for part, items in lists.items()
    }


def test_class_weights_are_scikit_learns_and_survive_a_worker(tmp_path):
    save_classes(tmp_path, {"a": 30, "b": 10})
    lists = pickle.loads(pickle.dumps(classification_datalists(tmp_path)))
    labels = [item["label"] for item in lists["training"]]
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    np.testing.assert_allclose(lists.class_weights(), expected)


def test_class_names_choose_and_order_the_classes(tmp_path, caplog):
    save_classes(tmp_path, {"a": 10, "b": 10, "c": 10})
    lists = classification_datalists(tmp_path, class_names=["c", "a"])
    assert {Path(i["image"]).parent.name: i["label"] for i in lists["training"]} == {"c": 0, "a": 1}
    assert "left out: b" in caplog.text


def test_a_users_folder_called_demo_is_not_taken_for_the_demo_set(tmp_path, monkeypatch):
    """Only the bare word asks for it; reports of a real data set never call it synthetic."""
    save_classes(tmp_path / "demo", {"a": 10, "b": 10})
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "demo", "./demo"):
        lists = classification_datalists(folder)
        assert (lists.name, lists.class_names) == ("demo_folder", ["a", "b"])
