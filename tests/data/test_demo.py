"""The embedded demo set: the same everywhere, safe on disk, and of no use to a classifier of single pixels."""

from __future__ import annotations

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from medssm_monai.data import demo_sample, is_demo, prepare_demo, segmentation_datalists
from medssm_monai.data.demo import segmentation as demo_module
from medssm_monai.data.demo.segmentation import DEMO_COUNTS, DEMO_SIZE

SMALL = {"demo_size": 32, "demo_counts": (6, 3, 2)}


def stacked(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    samples = [demo_sample(part, index) for index in range(count)]
    return np.stack([image for image, _ in samples]), np.stack([mask for _, mask in samples]) > 127


def mean_dice(pred: np.ndarray, truth: np.ndarray) -> float:
    """Mean over images of 2|A∩B| / (|A| + |B|)."""
    pred, truth = pred.reshape(len(truth), -1), truth.reshape(len(truth), -1)
    return float((2 * (pred & truth).sum(1) / (pred.sum(1) + truth.sum(1))).mean())


def test_arrays_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for part in ("training", "validation", "test"):
        for index in range(8):
            image, mask = demo_sample(part, index)
            digest.update(image.tobytes())
            digest.update(mask.tobytes())
    assert digest.hexdigest() == "10246430fb4d594d27f6add507706e699196a4dcbad890b19a3a05b175b9679a"


def test_samples_differ_and_do_not_depend_on_their_neighbours():
    first, again = demo_sample("training", 3), demo_sample("training", 3)
    np.testing.assert_array_equal(first[0], again[0])
    others = [demo_sample("training", 4)[0], demo_sample("validation", 3)[0], demo_sample("test", 3)[0]]
    assert all((first[0] != other).mean() > 0.5 for other in others)


def test_every_picture_has_a_lesion_of_sensible_size_and_both_polarities_occur():
    images, masks = stacked("training", DEMO_COUNTS[0])
    share = masks.mean(axis=(1, 2))
    assert share.min() > 0.05
    assert share.max() < 0.4
    grey = images.mean(axis=-1)
    darker = np.mean([g[m].mean() < g[~m].mean() for g, m in zip(grey, masks, strict=True)])
    assert 0.3 < darker < 0.7


def test_a_linear_classifier_of_single_pixels_stays_below_half():
    images, masks = stacked("training", DEMO_COUNTS[0])
    colours = images.reshape(-1, 3) / 255.0
    classifier = LogisticRegression(max_iter=300).fit(colours[::7], masks.ravel()[::7])
    scores = classifier.predict_proba(colours)[:, 1]
    cuts = np.quantile(scores, np.linspace(0, 0.98, 50))
    cut = max(cuts, key=lambda value: mean_dice(scores >= value, masks))  # chosen on training data
    images, masks = stacked("validation", DEMO_COUNTS[1])
    dice = mean_dice(classifier.predict_proba(images.reshape(-1, 3) / 255.0)[:, 1] >= cut, masks)
    assert 0.1 < dice < 0.42


def test_datalists_and_the_warning_that_names_them(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        lists = segmentation_datalists("demo", demo_dir=tmp_path, check="full", **SMALL)
    assert {part: len(items) for part, items in lists.items()} == {"training": 6, "validation": 3, "test": 2}
    assert "synthetic demo images, not real data" in caplog.text
    item = lists["validation"][1]
    np.testing.assert_array_equal(np.asarray(Image.open(item["image"])), demo_sample("validation", 1, 32)[0])
    np.testing.assert_array_equal(np.asarray(Image.open(item["label"])), demo_sample("validation", 1, 32)[1])
    assert is_demo("demo")
    assert not is_demo("./demo")


def test_default_folder_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert prepare_demo(size=32, counts=(1, 1, 1)).parent == tmp_path / "medssm_monai"


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_a_complete_set_is_used_again_a_damaged_one_replaced(tmp_path):
    folder = prepare_demo(tmp_path, 32, (4, 2, 1))
    before = times(folder)
    assert times(prepare_demo(tmp_path, 32, (4, 2, 1))) == before
    victim = next(folder.rglob("*.png"))
    for damage in (victim.unlink, lambda: victim.write_bytes(b"x"), (folder / "manifest.json").unlink):
        damage()
        assert prepare_demo(tmp_path, 32, (4, 2, 1)) == folder
        assert Image.open(victim).size == (32, 32)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_interrupted_start_leaves_nothing_half_made(tmp_path, monkeypatch):
    original = demo_module.demo_sample

    def interrupted(part, index, size):
        if part == "validation":
            raise KeyboardInterrupt
        return original(part, index, size)

    monkeypatch.setattr(demo_module, "demo_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_demo(tmp_path, 32, (2, 2, 1))
    assert not list(tmp_path.iterdir())


def test_other_files_in_demo_dir_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    prepare_demo(tmp_path, 32, (1, 1, 1))
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_several_starts_at_once(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: prepare_demo(tmp_path, 32, (12, 4, 2)), range(4)))
    assert len(set(folders)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folders[0].name]
    assert len(json.loads((folders[0] / "split.json").read_text())["training"]) == 12


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="name a writable folder as demo_dir"):
        prepare_demo(tmp_path / "file")


@pytest.mark.parametrize(("size", "counts"), [(16, (1, 1, 1)), (64, (0, 1, 1)), (64, (1, 1)), (64, (1, -1, 1))])
def test_bad_sizes(tmp_path, size, counts):
    with pytest.raises(ValueError, match="size >= 32"):
        prepare_demo(tmp_path, size, counts)


def test_default_size_is_a_multiple_of_32():
    assert DEMO_SIZE % 32 == 0
