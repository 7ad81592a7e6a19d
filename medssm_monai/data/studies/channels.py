"""Series of a study that are channels of one volume, told by their descriptions."""

from __future__ import annotations

from collections.abc import Sequence

from ..readers.channels import same_place
from .annotations import plain_name
from .matching import MatchError, Target
from .series import Series

__all__ = ["channel_of", "channels_of", "on_one_grid"]

SHOWN = 12


def channels_of(target: Target, targets: Sequence[Target], names: Sequence[str]) -> list[Target]:
    """The volumes of a study on the voxels of one of them, one for each channel.

    Which series is which channel :func:`channel_of` says.

    Args:
        target: the labeled volume.
        targets: all volumes.
        names: of the channels, in order.

    Raises:
        MatchError: a channel that no series is, or several are.
    """
    of_study = [one for one in targets if one.series.study_uid == target.series.study_uid]
    beside = [one for one in of_study if on_one_grid(one.series, target.series)]
    channel = {one.name: channel_of(one.series.description, names) for one in beside}
    found = {name: [one for one in beside if channel[one.name] == name] for name in names}
    missing = [name for name, own in found.items() if not own]
    if missing:
        there = ", ".join(sorted(one.series.description or "without description" for one in beside)[:SHOWN])
        raise MatchError(
            "missing channels",
            f"no {', '.join(missing)} among the series on the same voxels, which are called: {there}",
        )
    several = [f"{name}: {', '.join(one.name for one in own)}" for name, own in found.items() if len(own) > 1]
    if several:
        raise MatchError("channel in several series", "; ".join(several))
    return [found[name][0] for name in names]


def on_one_grid(one: Series, other: Series) -> bool:
    """Whether two series have the same voxels of one frame of reference; pictures, whether as many of one size."""
    if one.spatial_dims != other.spatial_dims or _size(one) != _size(other):
        return False
    if one.spatial_dims == 2:
        return True
    if one.affine is None or other.affine is None or not same_place(one.affine, other.affine):
        return False
    return len({str(series.instances[0].header.get("FrameOfReferenceUID", "")) for series in (one, other)}) == 1


def _size(series: Series) -> tuple[int, int, int]:
    """Rows, columns, and slices or pictures."""
    header = series.instances[0].header
    count = sum(instance.frames for instance in series.instances) if series.frames is None else len(series.frames)
    return int(header.Rows), int(header.Columns), count


def channel_of(description: str, names: Sequence[str]) -> str | None:
    """Name of the channel that the description of a series says; None for no channel.

    It is the name that is the description, else the longest whose words are in it, in small or capital letters: of
    ``t1`` and ``t1 ce`` a series ``AX T1 CE`` is the second.
    """
    said = f" {plain_name(description)} "
    exact = [name for name in names if plain_name(name) == said.strip()]
    inside = [name for name in names if f" {plain_name(name)} " in said]
    best = exact or sorted(inside, key=lambda name: -len(plain_name(name)))
    return best[0] if best else None
