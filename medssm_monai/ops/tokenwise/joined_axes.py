"""Two axes of a batch of volumes that count as one, so that the kernel of maps serves volumes without copies."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["joined_axis", "joined_order"]


def joined_axis(
    layouts: Sequence[tuple[Sequence[int], Sequence[int]]], memory: Sequence[Sequence[int] | None] | None
) -> int:
    """Which axis of ``(B, X, Y, Z, *channels)`` to join with the one after it: 2 (``Y``, ``Z``) or 0 (``B``, ``X``).

    The first that needs no copy; where there is none, the first that the wanted outputs allow.

    Args:
        layouts: shape and strides of each tensor.
        memory: as of :func:`.tokenwise`.

    Raises:
        ValueError: when the outputs allow neither.
    """
    allowed = [axis for axis in (2, 0) if all(_stay_together(order, axis) for order in memory or ())]
    if not allowed:
        raise ValueError(
            f"memory {memory} keeps neither axes 2 and 3 nor axes 0 and 1 of every output side by side; "
            "chains of volumes need one of these pairs."
        )
    free = (axis for axis in allowed if all(_is_one(shape, strides, axis) for shape, strides in layouts))
    return next(free, allowed[0])


def joined_order(order: Sequence[int], axis: int) -> tuple[int, ...]:
    """An order of axes in memory after ``axis`` and the next became one."""
    return tuple(a - (a > axis) for a in order if a != axis + 1)


def _stay_together(order: Sequence[int] | None, axis: int) -> bool:
    return order is None or order.index(axis + 1) == order.index(axis) + 1


def _is_one(shape: Sequence[int], strides: Sequence[int], axis: int) -> bool:
    """Whether flattening an axis with the next is a view."""
    return 1 in shape[axis : axis + 2] or strides[axis] == shape[axis + 1] * strides[axis + 1]
