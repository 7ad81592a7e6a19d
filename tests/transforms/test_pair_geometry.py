from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medssm_monai.transforms import MatchPaird

KEYS = ("image_a", "image_b")


def ramp(size, affine, file="x.nii.gz", **meta):
    """Image whose value is a linear function of the place in space: resampling keeps it exactly."""
    grid = torch.meshgrid(*(torch.arange(s, dtype=torch.float64) for s in size), indexing="ij")
    full = torch.stack([*grid, *[torch.zeros(size)] * (3 - len(size)), torch.ones(size)], dim=-1).double()
    world = full @ torch.as_tensor(affine, dtype=torch.float64).T
    values = world[..., :3] @ torch.tensor([0.5, -0.25, 0.125], dtype=torch.float64) + 100
    return MetaTensor(values[None].float(), affine=affine, meta={"filename_or_obj": file, **meta})


def affine(spacing=(1, 1, 1), origin=(0, 0, 0), turn=0.0):
    c, s = math.cos(turn), math.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation @ np.diag(spacing), origin
    return result


def pair(a, b):
    return {"image_a": a, "image_b": b}


def test_registered_pairs_pass_untouched(caplog):
    data = pair(ramp((6, 7, 5), affine()), ramp((6, 7, 5), affine(origin=(0, 0, 1e-4))))
    assert MatchPaird(KEYS, 3)(data)["image_b"] is data["image_b"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("size", "other"),
    [
        ((12, 11, 10), affine((0.5, 0.5, 0.5), (1, 1, 1))),
        ((9, 9, 9), affine((2, 1, 1.5), (-2, -1, -3))),
        ((20, 20, 9), affine((1, 1, 1), (2, -6, -1), turn=0.4)),
    ],
)
def test_b_is_resampled_onto_a_where_affines_differ(size, other, caplog):
    a, b = ramp((6, 7, 5), affine(origin=(1, 2, 0))), ramp(size, other, file="b.nii.gz")
    with caplog.at_level(logging.WARNING):
        matched = MatchPaird(KEYS, 3)(pair(a, b))["image_b"]
    assert "b.nii.gz" in caplog.text and "resampled" in caplog.text
    assert matched.shape == a.shape
    np.testing.assert_allclose(matched.affine, a.affine)
    assert matched.meta["filename_or_obj"] == "b.nii.gz"
    grid = torch.stack(torch.meshgrid(*map(torch.arange, (6, 7, 5)), indexing="ij"), -1).reshape(-1, 3).double()
    world = torch.cat([grid, torch.ones(len(grid), 1)], 1).double() @ a.affine.T.double()
    voxel = world @ torch.linalg.inv(torch.as_tensor(other)).T
    inside = ((voxel[:, :3] >= 0) & (voxel[:, :3] <= torch.tensor(size) - 1)).all(1)
    assert inside.sum() > 20
    torch.testing.assert_close(matched.flatten()[inside], a.flatten()[inside], rtol=0, atol=1e-3)


def test_slices_of_a_sagittal_plane_are_matched_in_their_plane():
    """Rows along z, columns along y: the in-plane axes are not the first two of space."""
    sagittal = np.array([[0, 0, 3, 10], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    moved = sagittal.copy()
    moved[2, 3] = -1  # one row
    a, b = ramp((6, 7), sagittal), ramp((8, 7), moved)
    matched = MatchPaird(KEYS, 2)(pair(a, b))["image_b"]
    torch.testing.assert_close(matched.as_tensor(), a.as_tensor(), rtol=0, atol=1e-3)
    other = sagittal.copy()
    other[0, 3] = 20
    with pytest.raises(ValueError, match="different planes"):
        MatchPaird(KEYS, 2)(pair(a, ramp((6, 7), other)))


def test_fields_of_view_without_overlap_are_refused():
    a, b = ramp((6, 7, 5), affine(), "a.nii"), ramp((6, 7, 5), affine(origin=(50, 0, 0)), "b.nii")
    with pytest.raises(ValueError, match=r"a\.nii and b\.nii do not overlap"):
        MatchPaird(KEYS, 3)(pair(a, b))


@pytest.mark.parametrize("raster", [True, False])
def test_without_affine_sizes_must_agree(raster):
    def image(*size):
        values = torch.rand(1, *size)
        return MetaTensor(values, meta={"file_kind": "raster", "filename_or_obj": "p.png"}) if raster else values

    good = pair(image(6, 7), image(6, 7))
    assert MatchPaird(KEYS, 2)(good)["image_b"] is good["image_b"]
    with pytest.raises(ValueError, match=r"\(6, 7\) and \(7, 6\).*no affine"):
        MatchPaird(KEYS, 2)(pair(image(6, 7), image(7, 6)))


def test_one_affine_only_is_said(caplog):
    MatchPaird(KEYS, 2)(pair(ramp((6, 7), affine()), torch.rand(1, 6, 7)))
    assert "only one has an affine" in caplog.text


@pytest.mark.parametrize(
    ("dims", "image", "message"),
    [
        (2, torch.rand(3, 6, 7), r"3 channel\(s\).*color.*where 1 expected.*--channels"),
        (3, torch.rand(4, 6, 7, 5), r"4 channel\(s\).*4D"),
        (3, torch.rand(1, 6, 7), "3 spatial axes.*2D here"),
        (2, torch.rand(1, 6, 7, 5), "2 spatial axes.*3D here"),
        (2, torch.full((1, 6, 7), math.nan), "NaN"),
        (2, torch.full((1, 6, 7), 3.0), r"constant \(3\)"),
    ],
)
@pytest.mark.parametrize("position", [0, 1])
def test_bad_images_are_named(dims, image, message, position):
    images = [torch.rand(1, *(6, 7, 5)[:dims])] * 2
    images[position] = image
    with pytest.raises(ValueError, match=f"{KEYS[position]}.*{message}"):
        MatchPaird(KEYS, dims)(pair(*images))


def test_a_single_slice_is_a_volume_of_one_slice():
    data = pair(ramp((6, 7, 1), affine()), ramp((6, 7, 1), affine()))
    assert MatchPaird(KEYS, 3)(data)["image_b"].shape == (1, 6, 7, 1)


def test_a_color_source_is_matched_whole_and_expected_as_such():
    a, gray = ramp((6, 7, 5), affine()), ramp((9, 9, 9), affine(origin=(-1, -1, -2)))
    color = MetaTensor(torch.cat([gray, 2 * gray, 3 * gray]).as_tensor(), meta=gray.meta)
    matched = MatchPaird(KEYS, 3, channels=(1, 3))(pair(a, color))["image_b"]
    torch.testing.assert_close(matched.as_tensor(), torch.cat([a, 2 * a, 3 * a]).as_tensor(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("channels", [(1, 1), (3, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("stored", [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_gray_stored_as_three_equal_channels_goes_beside_gray(dims, channels, stored):
    gray = torch.rand(2, *(6, 7, 5)[:dims])
    images = [gray[i : i + 1].repeat(count, *[1] * dims) for i, count in enumerate(stored)]
    result = MatchPaird(KEYS, dims, channels=channels)(pair(*images))
    for i, (key, count) in enumerate(zip(KEYS, channels, strict=True)):
        assert torch.equal(torch.as_tensor(result[key]), gray[i : i + 1].repeat(count, *[1] * dims))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="source A and source B"):
        MatchPaird("image", 2)
    with pytest.raises(ValueError, match="spatial_dims"):
        MatchPaird(KEYS, 4)
