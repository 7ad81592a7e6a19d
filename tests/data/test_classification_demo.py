"""The synthetic classification demo set: the same everywhere, balanced, and of little use to a classifier of pixels."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medssm_monai.data import class_demo_sample, classification_datalists, prepare_class_demo

SMALL = {"demo_size": 32, "demo_counts": (12, 8, 4)}


def stacked(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    samples = [class_demo_sample(part, index) for index in range(count)]
    return np.stack([image for image, _ in samples]) / 255.0, np.array([label for _, label in samples])


def test_arrays_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for part in ("training", "validation", "test"):
        for index in range(8):
            image, label = class_demo_sample(part, index)
            digest.update(image.tobytes() + bytes([label]))
    assert digest.hexdigest() == "ef261bd1d5711faa6e04b72c626e1ac655e0a7fa67c51ff22d7d747c8ac19835"


def test_a_linear_classifier_of_pixels_stays_below_one_half():
    """Chance is 0.25. MedConvMamba-T reaches 0.73 of the test part in 20 epochs."""
    images, labels = stacked("training", 480)
    test_images, test_labels = stacked("test", 60)
    for strength in (1e-4, 1e-2):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=100))
        model.fit(images[:, ::4, ::4].reshape(480, -1), labels)
        assert model.score(test_images[:, ::4, ::4].reshape(60, -1), test_labels) < 0.5


def test_brightness_tells_nothing():
    images, labels = stacked("training", 480)
    means = np.array([[f(images[labels == k].mean(axis=(1, 2, 3))) for f in (np.mean, np.std)] for k in range(4)])
    assert np.ptp(means[:, 0]) < 0.5 * means[:, 1].mean()


def test_datalists_are_balanced_official_parts_and_the_log_says_synthetic(tmp_path, caplog):
    lists = classification_datalists("demo", demo_dir=tmp_path, **SMALL)
    assert (lists.name, lists.class_names) == ("demo", ["lobed", "mottled", "ring", "smooth"])
    assert [lists.counts(part) for part in lists] == [[3] * 4, [2] * 4, [1] * 4]
    assert "synthetic" in caplog.text
    assert all(part in item["image"] for part, items in lists.items() for item in items)


def test_a_complete_set_is_used_again_a_damaged_one_replaced(tmp_path):
    folder = prepare_class_demo(tmp_path, 32, (4, 4, 4))
    picture = next((folder / "test" / "ring").iterdir())
    content, stamp = picture.read_bytes(), picture.stat().st_mtime_ns
    prepare_class_demo(tmp_path, 32, (4, 4, 4))
    assert picture.stat().st_mtime_ns == stamp
    picture.write_bytes(b"")
    prepare_class_demo(tmp_path, 32, (4, 4, 4))
    assert picture.read_bytes() == content


@pytest.mark.parametrize(("size", "counts"), [(16, (4, 4, 4)), (32, (4, 4)), (32, (4, 4, 3))])
def test_bad_sizes(tmp_path, size, counts):
    with pytest.raises(ValueError, match="demo images need"):
        prepare_class_demo(tmp_path, size, counts)
