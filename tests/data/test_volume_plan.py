"""The plan of volumes, against counts by hand."""

from __future__ import annotations

import json
import logging

import nibabel as nib
import numpy as np
import pytest

from medssm_monai.data import LabelSet, plan_volumes, prepare_structures_demo
from medssm_monai.data import volume_plan as module

LABELS = {"liver": 1, "tumor": 2, "ignore": 3}
SHAPE = (4, 3, 2)


def item(folder, name, image, mask=None, affine=None, channels=1):
    """One training item; ``mask`` is 1 everywhere unless given."""
    affine = np.eye(4) if affine is None else affine
    files = []
    for channel in range(channels):
        files.append(str(folder / f"{name}_{channel:04d}.nii.gz"))
        nib.save(nib.Nifti1Image(image + 1000 * channel, affine), files[-1])
    mask = np.ones(image.shape, np.uint8) if mask is None else mask
    nib.save(nib.Nifti1Image(mask, affine), folder / f"{name}.nii.gz")
    return {"image": files if channels > 1 else files[0], "label": str(folder / f"{name}.nii.gz"), "name": name}


def sized(folder, steps, axes="RAS"):
    """Items of zeros with the given voxel sizes along R, A, S, stored along other axes."""
    found = []
    for number, size in enumerate(steps):
        image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([*size, 1.0]))
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
        stored = image.as_reoriented(turn)
        found.append(item(folder, f"case{number}", np.asarray(stored.dataobj), affine=stored.affine))
    return found


@pytest.mark.parametrize("axes", ["RAS", "PIR", "SAL"])
def test_spacing_is_the_median_along_the_bodys_axes(tmp_path, axes):
    data = sized(tmp_path, [(0.5, 0.6, 1.5), (0.7, 0.8, 1.0), (0.9, 0.7, 1.25)], axes)
    assert plan_volumes(data, LABELS)["spacing"] == [0.7, 0.7, 1.25]


def test_an_oblique_affine_keeps_its_voxel_sizes(tmp_path):
    c, s = np.cos(0.4), np.sin(0.4)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([0.8, 1.2, 2.0])
    assert plan_volumes([item(tmp_path, "a", np.zeros(SHAPE, np.int16), affine=affine)], LABELS)["spacing"] == [
        0.8,
        1.2,
        2.0,
    ]


def test_a_coarse_axis_takes_its_tenth_percentile(tmp_path):
    coarse = [2.0, 3.0, 5.0, 5.0, 6.0]
    data = sized(tmp_path, [(1.0, 1.0, step) for step in coarse])
    assert plan_volumes(data, LABELS)["spacing"] == [1.0, 1.0, 2.4]  # 2 + 0.4 * (3 - 2): place 0.4 of 0..4


def test_three_times_is_not_yet_coarse_and_no_axis_becomes_finer_than_the_next(tmp_path):
    (tmp_path / "b").mkdir()
    assert plan_volumes(sized(tmp_path, [(1, 1, 1), (1, 1, 3), (1, 1, 3)]), LABELS)["spacing"] == [1.0, 1.0, 3.0]
    fine = sized(tmp_path / "b", [(1, 1.5, 0.5), (1, 1.5, 5), (1, 1.5, 5)])
    assert plan_volumes(fine, LABELS)["spacing"] == [1.0, 1.5, 1.5]


def test_given_values_are_taken_over(tmp_path):
    data = sized(tmp_path, [(1, 1, 2)])
    ct = {"kind": "ct", "low": -100, "high": 200, "mean": 50, "std": 20}
    found = plan_volumes(data, LABELS, spacing=(1, 2, 3), intensity=[ct])
    assert found == {
        "spacing": [1.0, 2.0, 3.0],
        "intensity": [{key: v if key == "kind" else float(v) for key, v in ct.items()}],
    }
    assert plan_volumes(data, LABELS, spacing=None)["spacing"] is None


def test_ct_by_the_voxels_of_all_classes(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(-1000, 1000, SHAPE).astype(np.int16) for _ in range(3)]
    masks = [rng.integers(0, 4, SHAPE).astype(np.uint8) for _ in range(3)]
    data = [item(tmp_path, f"c{n}", image, mask) for n, (image, mask) in enumerate(zip(images, masks, strict=True))]
    inside = np.concatenate([i[np.isin(m, (1, 2))] for i, m in zip(images, masks, strict=True)]).astype(float)
    (found,) = plan_volumes(data, LABELS, ["CT"])["intensity"]
    assert found.pop("kind") == "ct"
    by_hand = np.sort(inside)
    place = 0.005 * (len(inside) - 1)
    low = by_hand[int(place)] + (place - int(place)) * (by_hand[int(place) + 1] - by_hand[int(place)])
    expected = {"low": low, "high": np.quantile(inside, 0.995), "mean": inside.mean()}
    expected["std"] = np.sqrt(((inside - inside.mean()) ** 2).mean())
    assert found == pytest.approx(expected)


def test_only_channels_named_ct_are_read_as_such(tmp_path):
    data = [item(tmp_path, "a", np.arange(24, dtype=np.int16).reshape(SHAPE), channels=3)]
    names = ["T1ct_like", "pre-CT (portal)", "fractional"]
    kinds = plan_volumes(data, LABELS, names)["intensity"]
    assert [found["kind"] for found in kinds] == ["zscore", "ct", "zscore"]
    assert kinds[1]["mean"] == pytest.approx(1000 + 11.5)
    assert [found["kind"] for found in plan_volumes(data, LABELS)["intensity"]] == ["zscore"] * 3


def test_values_are_read_only_for_ct(tmp_path, monkeypatch):
    data = sized(tmp_path, [(1, 1, 2)])

    def refuse(*args):
        raise AssertionError("read")

    monkeypatch.setattr(module, "read_channels", refuse)
    assert plan_volumes(data, LABELS, ["MRI"])["intensity"] == [{"kind": "zscore"}]
    with pytest.raises(AssertionError, match="read"):
        plan_volumes(data, LABELS, ["ct"])


def test_at_most_so_many_items_evenly_spread(tmp_path, caplog):
    data = sized(tmp_path, [(1, 1, 1.0 + n / 10) for n in range(9)])
    with caplog.at_level(logging.INFO):
        assert plan_volumes(data, LABELS, most=3)["spacing"] == [1.0, 1.0, 1.4]
    assert "3 of 9 training items" in caplog.text
    assert plan_volumes(data, LABELS, most=1)["spacing"] == [1.0, 1.0, 1.0]


def test_many_labeled_voxels_are_thinned_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_VOXELS", 10)
    data = [item(tmp_path, "a", np.arange(24, dtype=np.int16).reshape(SHAPE))]
    assert plan_volumes(data, LABELS, ["CT"])["intensity"][0]["mean"] == np.arange(0, 24, 3).mean()


def test_the_demo_set_in_plain_json(tmp_path):
    folder = prepare_structures_demo(tmp_path, 3, (2, 1, 1), 32)
    data = [
        {"image": str(path), "label": str(folder / "labelsTr" / path.name.replace("_0000", ""))}
        for path in sorted((folder / "imagesTr").iterdir())
    ]
    found = plan_volumes(data, LabelSet.of({"organ": [1, 4], "vessel": 2, "capsule": 3}), ["CT"])
    assert found["spacing"] == [1.0, 1.0, 1.5]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spacing": [1, 2]}, "three sizes"),
        ({"spacing": [1, 2, 0]}, "three sizes"),
        ({"spacing": "median"}, "three sizes"),
        ({"intensity": "ct"}, "intensity must be 'auto'"),
        (
            {"intensity": [{"kind": "mri"}, {"kind": "ct", "low": 1}]},
            "channel 0: expected kind.*channel 1: kind 'ct' has low",
        ),
        ({"intensity": [{"kind": "zscore"}], "channel_names": ["a", "b"]}, "1 descriptions of 2 channels"),
        ({"intensity": []}, "a list"),
        ({"most": 0}, "most=0"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_volumes(sized(tmp_path, [(1, 1, 1)]), LABELS, **arguments)


def test_bad_data(tmp_path):
    with pytest.raises(ValueError, match="needs training items"):
        plan_volumes([], LABELS)
    empty = [item(tmp_path, "a", np.zeros(SHAPE, np.int16), np.full(SHAPE, 3, np.uint8))]
    with pytest.raises(ValueError, match="none of the 1 training items has a voxel of a class"):
        plan_volumes(empty, LABELS, ["CT"])
    other = [item(tmp_path, "b", np.zeros(SHAPE, np.int16), np.ones((4, 3, 3), np.uint8))]
    with pytest.raises(ValueError, match=r"b\.nii\.gz: a mask of \(4, 3, 3\) voxels"):
        plan_volumes(other, LABELS, ["CT"])
