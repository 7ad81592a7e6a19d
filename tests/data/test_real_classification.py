"""Classification datalists over the real image sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from medssm_monai.data import classification_datalists

from .test_real_datalists import folder

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(
    ("subset", "counts"),
    [
        ("breast", {"training": [147, 399], "validation": [21, 57], "test": [42, 114]}),
        ("pneumonia", {"training": [1214, 3494], "validation": [135, 389], "test": [234, 390]}),
    ],
)
def test_medmnist(real_data, subset, counts, caplog):
    lists = classification_datalists(folder(real_data, "medmnist"), subset=subset)
    assert {part: lists.counts(part) for part in lists} == counts
    assert f"{subset}mnist.npz: MD5" in caplog.text  # both files are re-saved copies
    assert "more than one part" in caplog.text


def test_covid_xray(real_data):
    root = folder(real_data, "covid_xray")
    lists = classification_datalists(root, split_counts=(140, 20, 40), check="header")
    assert {part: lists.counts(part) for part in lists} == {
        "training": [140, 140],
        "validation": [20, 20],
        "test": [40, 40],
    }
    in_order = sorted(path.name for path in (root / "COVID").iterdir())
    assert [Path(item["image"]).name for item in lists["test"] if item["label"] == 0] == in_order[-40:]


def test_brain_tumor_without_its_leaks(real_data):
    root = folder(real_data, "brain_tumor_mri")
    lists = classification_datalists(root, check="header", duplicates="drop")
    rows = [line.split("\t") for line in (root / "near_duplicates.tsv").read_text().splitlines()[1:]]
    leaks = {str(root / row[1]) for row in rows}
    kept = {item["image"] for item in lists["training"] + lists["validation"]}
    assert not kept & leaks
    assert Counter(Path(item["image"]).parts[-3] for item in lists["test"]) == {"Testing": 400}
    assert len(kept) == 960 - len(leaks) - 2  # two more are byte for byte in Testing


def test_isic2017_classes(real_data):
    lists = classification_datalists(folder(real_data, "isic2017"), check="header")
    assert sum(map(len, lists.values())) == 2000
    assert sum(lists.counts(part)[1] for part in lists) == 374
