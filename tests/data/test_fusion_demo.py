"""The synthetic pairs, and the lists of pairs for inference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medssm_monai.data import DatalistError, fusion_datalists, fusion_demo_sample, pair_datalist, prepare_fusion_demo
from medssm_monai.metrics import fusion_metrics

from .builders import picture, save


@pytest.mark.parametrize("dims", [2, 3])
def test_sources_hold_what_the_other_lacks(dims):
    """Complementary: the edges of each source are worth keeping, and neither plain fusion keeps them all."""
    a, b = (torch.from_numpy(x)[None, None] / 255 for x in fusion_demo_sample("test", 0, 64, dims))
    for source in (a, b):
        assert float(source.max()) > 0.5 and float(source.min()) < 0.05
    qabf = {
        name: float(fusion_metrics(fused, a, b, ["qabf"])["qabf"])
        for name, fused in {"average": (a + b) / 2, "maximum": torch.maximum(a, b), "a": a, "b": b}.items()
    }
    assert max(qabf.values()) < 0.85
    assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 0.7


def test_samples_are_deterministic_and_differ():
    first, again, other = (fusion_demo_sample(*args, 32) for args in (("training", 3), ("training", 3), ("test", 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("dims", "suffix"), [(2, ".png"), (3, ".nii.gz")])
def test_demo_datalists_are_complete_and_used_again(tmp_path, dims, suffix, caplog):
    options = {"spatial_dims": dims, "demo_dir": tmp_path, "demo_size": 24, "demo_counts": (3, 1, 2)}
    lists = fusion_datalists("demo", ("MRI", "CT"), **options)
    assert [len(lists[part]) for part in ("training", "validation", "test")] == [3, 1, 2]
    assert lists["test"][1]["image_a"].endswith(f"test/source_a/demo_test_001{suffix}")
    assert "synthetic demo images" in caplog.text
    assert fusion_datalists("demo", ("MRI", "CT"), **options) == lists
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("arguments", [{"size": 8}, {"counts": (1, 0, 1)}, {"counts": (1, 1)}, {"spatial_dims": 4}])
def test_demo_refuses_bad_arguments(tmp_path, arguments):
    with pytest.raises(ValueError, match="demo"):
        prepare_fusion_demo(tmp_path, **arguments)


def test_pairs_of_subjects_keep_their_folders(tmp_path):
    for subject in ("s1", "s2"):
        for ending in ("_t1ce", "_flair"):
            save(picture(), tmp_path / subject / f"scan{ending}.png")
    found = pair_datalist(tmp_path, ("_t1ce", "_flair"))
    assert [(pair["folder"], pair["name"]) for pair in found] == [("s1", "scan"), ("s2", "scan")]


def test_pairs_by_csv(tmp_path):
    for name in ("a", "b"):
        save(picture(), tmp_path / "in" / f"{name}.png")
    (tmp_path / "list.csv").write_text("age,image_a,image_b\n50,in/a.png,in/b.png\n")
    assert pair_datalist(tmp_path / "list.csv", ("x", "y")) == [
        {
            "image_a": str(tmp_path / "in" / "a.png"),
            "image_b": str(tmp_path / "in" / "b.png"),
            "name": "a",
            "folder": "",
        }
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_a,image_b\nin/a.png,in/none.png\nin/lost.png,in/a.png\n", r"none\.png(.|\n)*lost\.png"),
        ("image_a,image_b\nin/a.png\n", "filled in every row"),
        ("first,second\nin/a.png,in/a.png\n", "columns image_a and image_b"),
        ("", "columns image_a and image_b"),
        ("image_a,image_b\nin/a.png,list.csv\n", r"list\.csv.*known image format"),
    ],
)
def test_bad_lists_are_named(tmp_path, text, message):
    save(picture(), tmp_path / "in" / "a.png")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DatalistError, match=message):
        pair_datalist(tmp_path / "list.csv", ("MRI", "CT"))


def test_unpaired_and_missing_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="MRI and CT"):
        pair_datalist(tmp_path / "nowhere", ("MRI", "CT"))
    for source, name in (("MRI", "x"), ("MRI", "y"), ("CT", "x"), ("CT", "z")):
        save(picture(), tmp_path / source / f"{name}.png")
    with pytest.raises(DatalistError, match=r"z\.png(.|\n)*y\.png"):
        pair_datalist(tmp_path, ("MRI", "CT"))
