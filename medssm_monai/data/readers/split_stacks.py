"""Slices that make several volumes (echoes, phases, acquisitions, orientations) are told apart by what they state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .stacks import OFF, Plane, Stack, StackError, stack_planes

__all__ = ["FRAME_TRAITS", "SplitStacks", "like_planes", "split_stacks"]

FRAME_TRAITS = (  # of frames, the one tried first in front
    *("StackID", "EffectiveEchoTime", "DiffusionBValue", "DiffusionGradientOrientation", "TemporalPositionIndex"),
    *("NominalCardiacTriggerDelayTime", "FrameType", "FrameAcquisitionNumber"),
)
TURNED = 2e-3  # by which a direction cosine of slices of one stack may differ
APART = "order of the instances"


@dataclass
class SplitStacks:
    """What became of a set of slices.

    Attributes:
        stacks: members (numbers of slices, along the normal), the stack of them, and what tells it from the others.
        left: members that make no volume, and why.
    """

    stacks: list[tuple[list[int], Stack, str]] = field(default_factory=list)
    left: list[tuple[list[int], str]] = field(default_factory=list)

    @property
    def placed(self) -> int:
        """How many slices have a place in a volume."""
        return sum(len(members) for members, _, _ in self.stacks)


def like_planes(planes: Sequence[Plane], sizes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Numbers of slices that may belong together: of one size, spacing and orientation."""
    groups: list[list[int]] = []
    for number, (plane, size) in enumerate(zip(planes, sizes, strict=True)):
        for group in groups:
            first = planes[group[0]]
            if (
                sizes[group[0]] == size
                and np.allclose(first.spacing, plane.spacing, rtol=1e-3, atol=1e-6)
                and np.allclose(first.orientation, plane.orientation, rtol=0, atol=TURNED)
            ):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _places(planes: Sequence[Plane], members: Sequence[int]) -> list[tuple[int, ...]]:
    """The place of every member as whole numbers of a tenth of the usual step."""
    positions = np.asarray([planes[number].position for number in members])
    along = np.unique(np.round(positions @ planes[members[0]].normal, 3))
    step = max(float(np.median(np.diff(along))) if len(along) > 1 else 1.0, 1e-3) * OFF
    return [tuple(place) for place in np.round(positions / step).astype(int).tolist()]


def split_stacks(
    planes: Sequence[Plane], traits: Sequence[Mapping[str, str]], names: Sequence[str], members: Sequence[int]
) -> SplitStacks:
    """Make one volume of slices of one orientation, or several.

    Args:
        planes: of all slices.
        traits: what each slice states of itself (echo time, acquisition number ...).
        names: of the traits, the one tried first in front.
        members: numbers of the slices, in the order of their instance numbers.

    Slices that no trait tells apart are told apart by the order of their instances, where each place has as many.
    A slice on its own is left.
    """
    members = list(members)
    if len(members) < 2:
        return SplitStacks(left=[(members, "one slice alone")])
    try:
        stack = stack_planes([planes[number] for number in members])
    except StackError as error:
        reason = str(error)
    else:
        return SplitStacks(stacks=[([members[number] for number in stack.order], stack, "")])
    counts = Counter(_places(planes, members))
    most = max(counts.values())
    best = SplitStacks(left=[(members, reason)])
    for at, name in enumerate(names):
        groups: dict[str, list[int]] = {}
        for number in members:
            groups.setdefault(traits[number].get(name, ""), []).append(number)
        if len(groups) < 2 or (most > 1 and len(groups) > most) or (most == 1 and min(map(len, groups.values())) < 2):
            continue
        found = SplitStacks()
        for value, group in groups.items():
            part = split_stacks(planes, traits, names[at + 1 :], group)
            label = f"{name} {value or 'not stated'}"
            found.stacks += [(who, stack, ", ".join(filter(None, (label, more)))) for who, stack, more in part.stacks]
            found.left += [(who, f"{label}: {why}") for who, why in part.left]
        if found.placed > best.placed:
            best = found
        if best.placed == len(members):
            return best
    if best.placed == 0 and most > 1 and set(counts.values()) == {most} and len(counts) > 1:
        return _by_order(planes, members, most, reason)
    return best


def _by_order(planes: Sequence[Plane], members: list[int], most: int, reason: str) -> SplitStacks:
    """The first slice of every place, the second of every place, and so on."""
    groups: list[list[int]] = [[] for _ in range(most)]
    seen: Counter[tuple[int, ...]] = Counter()
    for number, place in zip(members, _places(planes, members), strict=True):
        groups[seen[place]].append(number)
        seen[place] += 1
    found = SplitStacks()
    for number, group in enumerate(groups):
        try:
            stack = stack_planes([planes[member] for member in group])
        except StackError:
            return SplitStacks(left=[(members, reason)])
        found.stacks.append(([group[at] for at in stack.order], stack, f"{APART}, {number + 1} of {most}"))
    return found
