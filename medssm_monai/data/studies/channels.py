"""Series of a study that are channels of one volume, told by their descriptions."""

from __future__ import annotations

from collections.abc import Sequence

from ..readers.channels import same_place
from .annotations import plain_name
from .matching import MatchError, Target

__all__ = ["channels_of"]

SHOWN = 12


def channels_of(target: Target, targets: Sequence[Target], names: Sequence[str]) -> list[Target]:
    """The volumes of a study on the voxels of one of them, one for each channel.

    A series is a channel whose name is its description, else the longest whose words are in it, upper or lower case:
    of ``t1`` and ``t1 ce`` a series ``AX T1 CE`` is the second.

    Args:
        target: the labeled volume.
        targets: all volumes.
        names: of the channels, in order.

    Raises:
        MatchError: a channel that no series is, or several are.
    """
    beside = [one for one in targets if one.series.study_uid == target.series.study_uid and _on_one_grid(one, target)]
    channel = {one.name: _channel(one.series.description, names) for one in beside}
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


def _on_one_grid(one: Target, other: Target) -> bool:
    first, second = one.grid, other.grid
    if first.shape != second.shape or first.frame_of_reference != second.frame_of_reference:
        return False
    return first.affine is not None and second.affine is not None and same_place(first.affine, second.affine)


def _channel(description: str, names: Sequence[str]) -> str | None:
    """Name of the channel that a description says."""
    said = f" {plain_name(description)} "
    exact = [name for name in names if plain_name(name) == said.strip()]
    inside = [name for name in names if f" {plain_name(name)} " in said]
    best = exact or sorted(inside, key=lambda name: -len(plain_name(name)))
    return best[0] if best else None
