"""Validation images that choose nothing in a training, kept for a calibration of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

__all__ = ["choosing_part", "held_out_part", "held_out_record"]

Item = TypeVar("Item", bound=Mapping[str, Any])
SEED = 0
MOST = 0.9


def _check(share: float) -> float:
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= MOST:
        raise ValueError(f"hold_out must be a share of the validation part from 0 to {MOST}, got {share!r}.")
    return float(share)


def _split(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Items that choose, and those held out; a group (``group`` of the items) is never cut."""
    if _check(share) == 0:
        return list(items), []
    groups: dict[Any, list[int]] = {}
    for number, item in enumerate(items):
        group = item.get("group")
        groups.setdefault(("image", number) if group is None else ("group", str(group)), []).append(number)
    members = list(groups.values())
    order = np.random.default_rng(SEED).permutation(len(members))
    count = round(share * len(members))
    if not 0 < count < len(members):
        raise ValueError(
            f"hold_out {share:g} of {len(members)} validation images (or groups) leaves nothing on one side; choose "
            "another share."
        )
    held = {number for unit in order[:count] for number in members[unit]}
    return [i for n, i in enumerate(items) if n not in held], [i for n, i in enumerate(items) if n in held]


def choosing_part(items: Sequence[Item], share: float) -> list[Item]:
    """The validation images that a training validates on: all but the share that is held out.

    Which ones depends on the list and the share alone: the same data give the same images again.

    Raises:
        ValueError: a share out of range, or one that leaves nothing on one side.
    """
    return _split(items, share)[0]


def held_out_record(items: Sequence[Mapping[str, Any]], share: float) -> dict[str, Any] | None:
    """What the settings of the weights keep, to find the images again: ``share``, ``validation`` (images of the part)
    and ``images`` (those held out); None where nothing is held out.

    Raises:
        ValueError: as :func:`choosing_part` does.
    """
    held = _split(items, share)[1]
    return {"share": float(share), "validation": len(items), "images": len(held)} if held else None


def held_out_part(items: Sequence[Item], record: Mapping[str, Any] | None) -> list[Item]:
    """The images that a training held out; all of them where it held out none.

    Args:
        items: the validation part.
        record: of the weights (:func:`medssm_monai.bundle.read_held_out`).

    Raises:
        ValueError: another validation part than the training's.
    """
    if record is None:
        return list(items)
    held = _split(items, record["share"])[1]
    if (len(items), len(held)) != (record["validation"], record["images"]):
        raise ValueError(
            f"the training of these weights held out {record['images']} of {record['validation']} validation images, "
            f"and here the part has {len(items)}. Name the data and the split of that training."
        )
    return held
