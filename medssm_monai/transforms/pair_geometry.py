"""Two sources of a fusion must show the same place: their values and geometry are checked, B is brought onto A."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any, TypeGuard, cast

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, ResampleToMatch
from monai.utils import ensure_tuple_rep

from ..data.readers.files import RASTER
from ..utils.shown_names import shown_name

__all__ = ["MatchPairD", "MatchPairDict", "MatchPaird"]

logger = logging.getLogger(__name__)
SAME = 0.01  # voxels of A that corners may differ by
GRID = 64  # points per axis at which the overlap of the fields of view is counted


class MatchPaird(MapTransform):
    """Check the two sources of a fusion and resample the second onto the grid of the first where affines differ.

    Misregistration is the commonest failure of fusion in practice, so nothing is guessed: sources whose fields of view
    do not overlap, or that have different sizes and no affine to relate them, are refused; a resampling is logged as a
    warning with its size. Outside the field of view of B the result is 0. Registration itself (moving anatomy) is not
    attempted.

    Args:
        keys: the two sources A and B, ``(channels, *spatial)`` each.
        spatial_dims: 2 or 3.
        channels: channels expected, 1 (gray) or 3 (color), for both or for each source. Three equal channels are gray,
            and a gray image is taken where color is expected, so that folders may hold both. Match a color source
            before ExtractLuminanced takes it apart, so that its chroma moves along.
        mode: interpolation of MONAI's ``ResampleToMatch``.
        allow_missing_keys: as everywhere in MONAI; with a key missing nothing is matched.

    Raises:
        ValueError: not two keys; other channels than expected (color, 4D file), another number of axes, NaN or
            infinite values, a constant image; different sizes without affine; fields of view without overlap; 2D slices
            in different planes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_dims: int,
        channels: int | Sequence[int] = 1,
        mode: str = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 2:
            raise ValueError(f"MatchPaird takes the keys of source A and source B, got {self.keys}.")
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        self.spatial_dims = spatial_dims
        self.channels = dict(zip(self.keys, ensure_tuple_rep(channels, 2), strict=True))
        self.resample = ResampleToMatch(mode=mode, padding_mode="zeros")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        found = list(self.key_iterator(result))
        for key in found:
            result[key] = _as_expected(result[key], self.spatial_dims, self.channels[key])
            _check_values(result[key], key, self.spatial_dims, self.channels[key])
        if len(found) == 2:
            result[found[1]] = self._onto(result[found[0]], result[found[1]], *map(str, found))
        return result

    def _onto(self, a: torch.Tensor, b: torch.Tensor, key_a: str, key_b: str) -> torch.Tensor:
        """B on the grid of A."""
        names = f"{_name(a, key_a)} and {_name(b, key_b)}"
        if not (_has_affine(a) and _has_affine(b)):
            if a.shape[1:] != b.shape[1:]:
                raise ValueError(
                    f"{names} have sizes {tuple(a.shape[1:])} and {tuple(b.shape[1:])} and no affine to relate them; "
                    "register and resample them to one grid first."
                )
            if _has_affine(a) != _has_affine(b):
                logger.warning(
                    "%s: only one has an affine; taken as registered because their sizes agree", _shown(a, b)
                )
            return b
        b_to_a = _voxels_to_voxels(a, b, self.spatial_dims, names)
        shift = _largest_shift(b_to_a, b.shape[1:])
        if a.shape[1:] == b.shape[1:] and shift <= SAME:
            return b
        share = _overlap(torch.linalg.inv(b_to_a), a.shape[1:], b.shape[1:])
        if share == 0:
            raise ValueError(
                f"the fields of view of {names} do not overlap; check that both belong to one examination."
            )
        logger.warning(
            "%s: affines or sizes differ (by up to %.3g voxels of the first); the second is resampled onto the first, "
            "of which it covers %.0f %%",
            _shown(a, b),
            shift,
            100 * share,
        )
        moved = MetaTensor(b.as_tensor().float(), affine=b_to_a)
        fixed = MetaTensor(torch.zeros_like(a.as_tensor()), affine=torch.eye(self.spatial_dims + 1, dtype=torch.double))
        values = cast(MetaTensor, self.resample(moved, fixed)).as_tensor()
        if values.amin() == values.amax():
            raise ValueError(f"{_name(b, key_b)} is constant within the field of view of {_name(a, key_a)}.")
        matched = MetaTensor(values, meta=dict(a.meta))
        matched.meta["filename_or_obj"] = b.meta.get("filename_or_obj", key_b)
        return matched


def _name(image: torch.Tensor, key: Hashable) -> str:
    return str(image.meta.get("filename_or_obj", repr(key))) if isinstance(image, MetaTensor) else repr(key)


def _shown(*images: torch.Tensor) -> str:
    """The names of images for the log."""
    return " and ".join(shown_name(_name(image, "image")) for image in images)


def _as_expected(image: torch.Tensor, dims: int, channels: int) -> torch.Tensor:
    """Three equal channels as one where gray is expected; a gray image as three equal ones where color is."""
    if image.ndim != dims + 1:
        return image
    if channels == 1 and image.shape[0] == 3 and bool((image == image[:1]).all()):
        return image[:1]
    if channels == 3 and image.shape[0] == 1:
        return image.repeat(3, *[1] * dims)
    return image


def _check_values(image: torch.Tensor, key: Hashable, dims: int, channels: int) -> None:
    name, shape = _name(image, key), tuple(image.shape)
    if len(shape) != dims + 1:
        raise ValueError(
            f"{name} has shape {shape}, expected ({channels}, *spatial) with {dims} spatial axes; choose the "
            f"configuration ({'3D' if len(shape) == 4 else '2D'} here) by the data, or cut volumes into slices."
        )
    if shape[0] != channels:
        remedy = "save one image of a 4D file as its own file"
        if shape[0] == 3 and dims == 2:
            remedy = (
                'if this source has color, say so, --channels "[3, 1]" for source A or "[1, 3]" for source B; else '
                "save the image as gray"
            )
        kind = {1: "a gray image", 3: "a color image"}.get(shape[0], "several images in one (a 4D file?)")
        raise ValueError(f"{name} has {shape[0]} channel(s) {shape}, {kind}, where {channels} expected; {remedy}.")
    if not torch.isfinite(image).all():
        raise ValueError(f"{name} holds NaN or infinite values; repair the file or leave the pair out.")
    if image.amin() == image.amax():
        raise ValueError(f"{name} is constant ({image.amax().item():g}): nothing to fuse; check the file.")


def _has_affine(image: torch.Tensor) -> TypeGuard[MetaTensor]:
    return isinstance(image, MetaTensor) and "affine" in image.meta and image.meta.get("file_kind") != RASTER


def _voxels_to_voxels(a: MetaTensor, b: MetaTensor, dims: int, names: str) -> torch.Tensor:
    """Affine from voxels of B to voxels of A, ``(dims + 1, dims + 1)`` float64."""
    affine_a, affine_b = (_four_by_four(x.affine) for x in (a, b))
    relative = torch.linalg.inv(affine_a) @ affine_b
    if dims == 3:
        return relative
    corners = _corners((*b.shape[1:], 1)) @ relative.T
    if corners[:, 2].abs().amax() > 0.5:  # half a slice
        raise ValueError(f"{names} are slices of different planes or positions; choose slices of one plane.")
    rows = torch.tensor([0, 1, 3])
    return relative[rows][:, rows]


def _four_by_four(affine: Any) -> torch.Tensor:
    affine = torch.as_tensor(affine, dtype=torch.float64)
    full = torch.eye(4, dtype=torch.float64)
    n = affine.shape[0] - 1
    full[:n, :n], full[:n, 3] = affine[:n, :n], affine[:n, n]
    return full


def _corners(size: Sequence[int]) -> torch.Tensor:
    """Homogeneous voxel coordinates of the corners, ``(2^n, n + 1)`` float64."""
    return torch.tensor([[*corner, 1.0] for corner in product(*((0, s - 1) for s in size))], dtype=torch.float64)


def _largest_shift(b_to_a: torch.Tensor, size: Sequence[int]) -> float:
    corners = _corners(size)
    return (corners @ b_to_a.T - corners).abs().amax().item()


def _overlap(a_to_b: torch.Tensor, size_a: Sequence[int], size_b: Sequence[int]) -> float:
    """Share of A's field of view that lies in B's, counted on a grid of A's voxels."""
    axes = [torch.linspace(0, s - 1, min(s, GRID), dtype=torch.float64) for s in size_a]
    points = torch.cartesian_prod(*axes, torch.ones(1, dtype=torch.float64)) @ a_to_b.T
    inside = [(points[:, i] >= -0.5) & (points[:, i] <= s - 0.5) for i, s in enumerate(size_b)]
    return torch.stack(inside).all(0).double().mean().item()


MatchPairD = MatchPairDict = MatchPaird
