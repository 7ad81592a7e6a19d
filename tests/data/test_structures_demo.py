"""The demo set of four structures: the same everywhere, in nnU-Net's layout, and not told by single voxels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from medssm_monai.data import STRUCTURES_DEMO_COUNTS, LabelSet, prepare_structures_demo, structures_demo_sample
from medssm_monai.data.demo import structures as demo_module

NAMES = ("organ", "vessel", "capsule", "nodule")
DIGESTS = {
    2: "b82ca45d8bdb7e4000184a9c21bc9beb88fdbd0c80ad16724b685e57f9348e37",
    3: "bc83739c204899fe7e69be379e76d51a22fcc6ea3f60ad5d1684d21837e492a8",
}


@pytest.mark.parametrize("dims", [2, 3])
def test_arrays_are_the_same_on_every_machine(dims):
    digest = hashlib.sha256()
    for part in ("training", "validation", "test"):
        for index in range(3):
            for values in structures_demo_sample(part, index, dims):
                digest.update(values.tobytes())
    assert digest.hexdigest() == DIGESTS[dims]


def test_samples_differ_and_do_not_depend_on_their_neighbors():
    first, again = structures_demo_sample("training", 3), structures_demo_sample("training", 3)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    others = [structures_demo_sample(*name)[0] for name in (("training", 4), ("validation", 3), ("test", 3))]
    assert all((first[0] != other).mean() > 0.5 for other in others)


@pytest.mark.parametrize(("dims", "smallest"), [(2, (250, 200, 120, 40)), (3, (1500, 400, 500, 60))])
def test_every_training_sample_has_every_structure_whole(dims, smallest):
    for index in range(STRUCTURES_DEMO_COUNTS[dims][0]):
        image, labels = structures_demo_sample("training", index, dims)
        counts = np.bincount(labels.ravel(), minlength=5)
        assert len(counts) == 5
        assert (counts[1:] >= smallest).all()
        pieces = [ndimage.label(labels == number)[1] for number in range(1, 5)]
        assert pieces == [1, 1, 1, 1]
        body = image.any(-1) if dims == 2 else image > 0
        assert body[labels > 0].all()
        assert not body.all()


def test_the_nodule_lies_in_the_organ_and_the_capsule_around_a_cavity():
    _, labels = structures_demo_sample("training", 0, 3)
    assert (ndimage.binary_dilation(labels == 4) <= np.isin(labels, (1, 4))).all()
    filled = ndimage.binary_fill_holes(labels == 3)
    assert (filled & (labels == 0)).sum() > 200


@pytest.mark.parametrize(("dims", "training", "step"), [(2, 24, 5), (3, 6, 15)])
def test_a_classifier_of_single_voxels_stays_below_half(dims, training, step):
    """Even one that knows each image's mean and spread, and any curve of intensity."""

    def features(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        found, truth = [], []
        for index in range(count):
            image, labels = structures_demo_sample(part, index, dims)
            values = image.reshape(labels.size, -1).astype(float)
            body = values[values.any(1)]
            found.append(np.concatenate([values, (values - body.mean(0)) / body.std(0)], axis=1))
            truth.append(labels.ravel())
        return np.concatenate(found), np.concatenate(truth)

    values, truth = features("training", training)
    unseen, wanted = features("validation", 4)
    dice = []
    for number in range(1, 5):
        model = HistGradientBoostingClassifier(max_iter=20, class_weight="balanced", random_state=0)
        model.fit(values[::step], truth[::step] == number)
        scores, there = model.predict_proba(unseen)[:, 1], wanted == number
        found = [scores >= cut for cut in np.quantile(scores, (0.5, 0.7, 0.8, 0.9, 0.95, 0.98))]
        dice.append(max(2 * (mask & there).sum() / (mask.sum() + there.sum()) for mask in found))
    assert np.mean(dice) < 0.4
    assert dice[3] < 0.15


def test_pictures_lie_as_nnunet_has_them(tmp_path):
    folder = prepare_structures_demo(tmp_path, 2, (3, 2, 1), 32)
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert (facts["file_ending"], facts["numTraining"]) == (".png", 6)
    assert LabelSet.of(facts["labels"]).names == NAMES
    split = json.loads((folder / "split.json").read_text())
    assert [len(split[part]) for part in ("training", "validation", "test")] == [3, 2, 1]
    names = [name for part in split.values() for name in part]
    assert {path.name for path in (folder / "imagesTr").iterdir()} == {f"{name}_0000.png" for name in names}
    assert {path.name for path in (folder / "labelsTr").iterdir()} == {f"{name}.png" for name in names}
    image, labels = structures_demo_sample("validation", 1, 2, (32, 32))
    with Image.open(folder / "imagesTr" / "demo_validation_001_0000.png") as picture:
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), image)
    with Image.open(folder / "labelsTr" / "demo_validation_001.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), labels)


def test_volumes_lie_as_nnunet_has_them(tmp_path):
    folder = prepare_structures_demo(tmp_path, 3, (2, 1, 1), (40, 36, 32))
    facts = json.loads((folder / "dataset.json").read_text())
    assert (facts["channel_names"], facts["file_ending"], facts["numTraining"]) == ({"0": "MRI"}, ".nii.gz", 4)
    image, labels = structures_demo_sample("test", 0, 3, (40, 36, 32))
    stored = nib.load(folder / "imagesTr" / "demo_test_000_0000.nii.gz")
    mask = nib.load(folder / "labelsTr" / "demo_test_000.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(stored.dataobj), image)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), labels)
    assert (stored.get_data_dtype(), mask.get_data_dtype()) == (np.int16, np.uint8)
    np.testing.assert_array_equal(stored.affine, mask.affine)
    assert stored.header.get_zooms() == (1.0, 1.0, 1.5)
    assert nib.aff2axcodes(stored.affine) == ("L", "P", "S")


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_a_complete_set_is_used_again_a_damaged_one_replaced(tmp_path):
    folder = prepare_structures_demo(tmp_path, 2, (2, 1, 1), 32)
    before = times(folder)
    assert times(prepare_structures_demo(tmp_path, 2, (2, 1, 1), 32)) == before
    victim = next((folder / "labelsTr").iterdir())
    victim.unlink()
    assert prepare_structures_demo(tmp_path, 2, (2, 1, 1), 32) == folder
    assert victim.is_file()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_interrupted_start_leaves_nothing_half_made(tmp_path, monkeypatch):
    original = demo_module.structures_demo_sample

    def interrupted(part, *others):
        if part == "validation":
            raise KeyboardInterrupt
        return original(part, *others)

    monkeypatch.setattr(demo_module, "structures_demo_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_structures_demo(tmp_path, 2, (1, 1, 1), 32)
    assert not list(tmp_path.iterdir())


def test_every_argument_names_its_own_folder(tmp_path):
    arguments = ({"size": 32}, {"size": (32, 40)}, {"size": 32, "spatial_dims": 3})
    folders = {prepare_structures_demo(tmp_path, counts=(1, 1, 1), **given) for given in arguments}
    assert len(folders) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 16}, "32"),
        ({"size": (64, 64, 64)}, "2 sides"),
        ({"spatial_dims": 3, "size": (64, 64)}, "3 sides"),
        ({"counts": (1, 0, 1)}, "three counts >= 1"),
        ({"counts": (1, 1)}, "three counts >= 1"),
        ({"spatial_dims": 4}, "spatial_dims=4"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare_structures_demo(tmp_path, **arguments)
