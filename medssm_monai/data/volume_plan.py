"""What a data set of volumes says about its own preprocessing: voxel size and intensities, by training items alone.

The rules are nnU-Net's (Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 18, 2021): the median voxel size, finer along an axis that is much coarser than the
others; CT, whose values mean the same in every scan, by the values of all labeled voxels; everything else by its own
mean and spread.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.utils import optional_import

from .labels import LabelSet
from .readers.channels import read_channels, volume_header, voxel_size
from .readers.label_indices import read_label_indices
from .readers.mask import Foreground

__all__ = ["INTENSITY_KINDS", "check_intensity", "given_spacing", "plan_volumes"]

nib, _ = optional_import("nibabel")
logger = logging.getLogger(__name__)
AUTO = "auto"
CT, ZSCORE = "ct", "zscore"
INTENSITY_KINDS = {CT: ("low", "high", "mean", "std"), ZSCORE: ()}
"""What the description of a channel's intensities holds beside ``kind``."""
ANISOTROPIC = 3.0  # times the next axis
FINE_PERCENTILE = 10
LOW, HIGH = 0.5, 99.5  # percentiles of labeled voxels
MOST_VOXELS = 1_000_000  # labeled ones of each item, evenly spread
NAMED_CT = re.compile(r"(?<![a-z0-9])ct(?![a-z])", re.IGNORECASE)
Item = Mapping[str, Any]


def check_intensity(intensity: Sequence[Mapping[str, Any]], channels: int | None = None) -> list[dict[str, Any]]:
    """A list with one description per channel, ``{"kind": "ct", "low", "high", "mean", "std"}`` or ``{"kind":
    "zscore"}``, as plain values.

    Args:
        intensity: of each channel.
        channels: how many there must be; None takes any number.

    Raises:
        ValueError: everything that is wrong with them, by channel.
    """
    if isinstance(intensity, (str, Mapping)) or not isinstance(intensity, Sequence) or not intensity:
        raise ValueError(
            f"intensity is a list with one description per channel, [{{kind: zscore}}], got {intensity!r}."
        )
    problems = [] if channels in (None, len(intensity)) else [f"{len(intensity)} descriptions of {channels} channels"]
    for number, given in enumerate(intensity):
        problem = _wrong(given)
        if problem:
            problems.append(f"channel {number}: {problem}")
    if problems:
        raise ValueError(f"intensity: {'; '.join(problems)}.")
    return [
        {"kind": given["kind"], **{key: float(given[key]) for key in INTENSITY_KINDS[given["kind"]]}}
        for given in intensity
    ]


def _wrong(given: Any) -> str | None:
    if not isinstance(given, Mapping) or given.get("kind") not in INTENSITY_KINDS:
        return f"expected kind {' or '.join(map(repr, INTENSITY_KINDS))}, got {given!r}"
    wanted = INTENSITY_KINDS[given["kind"]]
    numbers: list[Any] = [given.get(key) for key in wanted]
    if set(given) != {"kind", *wanted} or any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
        return f"kind {given['kind']!r} has {', '.join(wanted) or 'nothing'} beside it, got {dict(given)!r}"
    if not all(map(math.isfinite, numbers)) or (wanted and (given["low"] > given["high"] or given["std"] < 0)):
        return f"expected finite numbers with low <= high and std >= 0, got {dict(given)!r}"
    return None


def plan_volumes(
    data: Sequence[Item],
    labels: LabelSet | Mapping[str, Any],
    channel_names: Sequence[str] | None = None,
    spacing: str | Sequence[float] | None = AUTO,
    intensity: str | Sequence[Mapping[str, Any]] = AUTO,
    most: int = 64,
    foreground: Foreground = AUTO,
) -> dict[str, Any]:
    """Voxel size and intensities for volumes, in plain JSON types.

    At most ``most`` items are looked at, evenly spread over the list, which the log says. Of NIfTI files the spacing
    takes the headers alone; values are read only where a channel is CT.

    Args:
        data: the training items, ``image`` (a file or a list of files) and ``label``.
        labels: classes of the masks.
        channel_names: of the images; None takes none for CT.
        spacing: ``"auto"``, None (as stored), or ``[x, y, z]`` in mm, which is taken over.
        intensity: ``"auto"``, or a list with one description per channel, which is taken over.
        most: items that are looked at.
        foreground: of one class by rule, see :class:`~medssm_monai.transforms.LoadLabels`.

    Returns:
        ``spacing``: ``[x, y, z]`` in mm along the axes R, A, S, or None. The median of the items; where it is more than
        three times coarser along one axis than along any other, that axis has the 10th percentile of its sizes, but
        none below the next axis (Isensee et al. 2021; their condition on the number of voxels is left out).

        ``intensity``: for each channel ``{"kind": "ct", "low", "high", "mean", "std"}``, the percentiles 0.5 and 99.5,
        the mean and the standard deviation of its values in all voxels of a class (of up to a million in each item,
        evenly spread), where its name contains the word CT; else ``{"kind": "zscore"}``.

    Raises:
        ValueError: no items, no labeled voxel, an image with other than the named channels or of another size than its
            mask, bad arguments.
        ImageReadError: what a reader raises for a file.
    """
    if not data or most < 1:
        raise ValueError(f"a plan needs training items and most >= 1, got {len(data)} items and most={most}.")
    labels = LabelSet.of(labels)
    chosen = [
        data[number] for number in np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).round().astype(int))
    ]
    if AUTO in (spacing, intensity):
        logger.info("plan of spacing and intensities by %d of %d training items", len(chosen), len(data))
    planned = _median_spacing(chosen) if spacing == AUTO else given_spacing(spacing)
    if not isinstance(intensity, str):
        return {"spacing": planned, "intensity": check_intensity(intensity, len(channel_names or intensity))}
    if intensity != AUTO:
        raise ValueError(f"intensity must be 'auto' or a list with one description per channel, got {intensity!r}.")
    names = channel_names or [""] * read_channels(chosen[0]["image"]).shape[0]
    return {"spacing": planned, "intensity": _intensities(chosen, labels, list(names), foreground)}


def given_spacing(spacing: str | Sequence[float] | None) -> list[float] | None:
    """A voxel size as it is given, ``[x, y, z]`` in mm or None (as stored), checked.

    Raises:
        ValueError: anything else.
    """
    if spacing is None:
        return None
    steps = list(spacing) if isinstance(spacing, Sequence) and not isinstance(spacing, str) else []
    numbers = all(isinstance(step, (int, float)) and not isinstance(step, bool) for step in steps)
    if len(steps) != 3 or not numbers or not all(0 < step < np.inf for step in steps):
        raise ValueError(f"spacing must be 'auto', None (as stored) or three sizes [x, y, z] in mm, got {spacing!r}.")
    return [float(step) for step in steps]


def _median_spacing(data: Sequence[Item]) -> list[float]:
    steps = np.stack([_ras_spacing(volume_header(item["image"])[1]) for item in data])
    found = np.median(steps, axis=0)
    coarse = int(found.argmax())
    others = np.delete(found, coarse).max()
    if found[coarse] > ANISOTROPIC * others:
        found[coarse] = max(np.percentile(steps[:, coarse], FINE_PERCENTILE), others)
    return [round(float(step), 4) for step in found]


def _ras_spacing(affine: np.ndarray) -> np.ndarray:
    """Voxel size along R, A, S after reorientation: of the array's axis that is closest to each."""
    axes = nib.io_orientation(affine)[:, 0].astype(int)
    found = np.empty(3)
    found[axes] = voxel_size(affine)
    return found


def _intensities(
    data: Sequence[Item], labels: LabelSet, names: Sequence[str], foreground: Foreground
) -> list[dict[str, Any]]:
    of_ct = [number for number, name in enumerate(names) if NAMED_CT.search(name)]
    found: list[dict[str, Any]] = [{"kind": ZSCORE} for _ in names]
    if not of_ct:
        return found
    values = np.concatenate([_labeled(item, labels, len(names), of_ct, foreground) for item in data], axis=1)
    if not values.size:
        raise ValueError(
            f"none of the {len(data)} training items has a voxel of a class ({labels.described}), so the range of CT "
            "is unknown; check the masks and labels, or give intensity."
        )
    for number, own in zip(of_ct, values.astype(np.float64), strict=True):
        low, high = np.percentile(own, (LOW, HIGH))
        stated = {"low": low, "high": high, "mean": own.mean(), "std": own.std()}
        found[number] = {"kind": CT, **{key: float(value) for key, value in stated.items()}}
    return found


def _labeled(item: Item, labels: LabelSet, channels: int, wanted: Sequence[int], foreground: Foreground) -> np.ndarray:
    """Values ``(len(wanted), voxels)`` of the channels where a mask has a class."""
    volume = read_channels(item["image"], channels).numpy()
    indices = read_label_indices(item["label"], labels, 3, foreground)[0][0].numpy()
    if indices.shape != volume.shape[1:]:
        raise ValueError(
            f"{item['label']}: a mask of {indices.shape} voxels on an image of {volume.shape[1:]}; resample one to the "
            "other first."
        )
    inside = (indices > 0) & (indices != (len(labels.known) - 1 if labels.ignore is not None else -1))
    own = volume[list(wanted)][:, inside]
    return own[:, :: max(-(-own.shape[1] // MOST_VOXELS), 1)]
