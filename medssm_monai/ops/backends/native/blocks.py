"""Blocks of several registers: transposed from memory to memory, or folded to sums over lanes."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .vector import FLAGS, FLOATS, INT64, LANES, pointer_at, shuffled, vector

__all__ = ["fold_eight", "fold_four", "gather_block", "scatter_block", "sum_folded", "transpose_block"]


def _interleave(builder, x, y, width):
    """Of every four lanes of ``x`` and ``y`` the first halves, ``width`` lanes of each in turn; and the second halves.

    One instruction each, unlike most other shuffles of two registers.
    """
    first = [k - k % 4 + (k % 2 if width == 2 else k % 4 // 2) + LANES * (k // width % 2) for k in range(LANES)]
    return shuffled(builder, x, y, first), shuffled(builder, x, y, [k + 2 for k in first])


@intrinsic
def transpose_block(typing, source, source_step, target, target_step):
    """Transpose ``LANES x LANES`` numbers from memory to memory; the steps are bytes from row to row."""

    def codegen(ctx, b, sig, args):
        source, source_step, target, target_step = args
        sources = [b.add(source, b.mul(source_step, INT64(i))) for i in range(LANES)]
        targets = [b.add(target, b.mul(target_step, INT64(i))) for i in range(LANES)]
        _transpose(b, sources, targets)
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


def _transpose(builder, sources, targets):
    rows = [builder.load(pointer_at(builder, address, FLOATS), align=4) for address in sources]
    for i in range(0, LANES, 4):  # blocks of 4 x 4
        x, y = _interleave(builder, rows[i], rows[i + 1], 1), _interleave(builder, rows[i + 2], rows[i + 3], 1)
        rows[i : i + 4] = [*_interleave(builder, x[0], y[0], 2), *_interleave(builder, x[1], y[1], 2)]
    step = 4
    while step < LANES:  # swap the off-diagonal quarters of blocks of 8, 16
        low = [k if not k & step else LANES + k - step for k in range(LANES)]
        high = [k + step if not k & step else LANES + k for k in range(LANES)]
        for i in range(LANES):
            if not i & step:
                x, y = rows[i], rows[i + step]
                rows[i], rows[i + step] = shuffled(builder, x, y, low), shuffled(builder, x, y, high)
        step *= 2
    for row, address in zip(rows, targets, strict=True):
        builder.store(row, pointer_at(builder, address, FLOATS), align=4)


def _listed(builder, table, shift):
    """The ``LANES`` addresses that stand in a table, each plus ``shift``."""
    entries = [pointer_at(builder, builder.add(table, INT64(8 * i)), INT64) for i in range(LANES)]
    return [builder.add(builder.load(entry, align=8), shift) for entry in entries]


@intrinsic
def gather_block(typing, table, shift, target, target_step):
    """As :func:`transpose_block`, from rows whose addresses stand in a table, each plus ``shift``."""

    def codegen(ctx, b, sig, args):
        table, shift, target, target_step = args
        targets = [b.add(target, b.mul(target_step, INT64(i))) for i in range(LANES)]
        _transpose(b, _listed(b, table, shift), targets)
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


@intrinsic
def scatter_block(typing, source, source_step, table, shift):
    """As :func:`transpose_block`, to rows whose addresses stand in a table, each plus ``shift``."""

    def codegen(ctx, b, sig, args):
        source, source_step, table, shift = args
        sources = [b.add(source, b.mul(source_step, INT64(i))) for i in range(LANES)]
        _transpose(b, sources, _listed(b, table, shift))
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


def _fold(builder, rows, step):
    """Halve the number of rows: lanes with ``k & step == 0`` of ``x`` stay, those of ``y`` move in beside them."""
    stay = [k if not k & step else LANES + k for k in range(LANES)]  # a blend, cheaper than a shuffle
    move = [k + step if not k & step else LANES + k - step for k in range(LANES)]
    return [
        builder.fadd(shuffled(builder, x, y, stay), shuffled(builder, x, y, move), flags=FLAGS)
        for x, y in zip(rows[::2], rows[1::2], strict=True)
    ]


def _fold_four(builder, rows):
    def add(x, y, width):
        return builder.fadd(*_interleave(builder, x, y, width), flags=FLAGS)

    return add(add(rows[0], rows[1], 1), add(rows[2], rows[3], 1), 2)


@intrinsic
def fold_four(typing, row0, row1, row2, row3):
    """Partial sums of four rows in one: lane ``k`` holds a part of the sum over row ``k % 4``."""
    return vector(vector, vector, vector, vector), lambda ctx, b, sig, args: _fold_four(b, args)


@intrinsic
def fold_eight(typing, row0, row1, row2, row3, row4, row5, row6, row7):
    """Partial sums of eight rows in one: lane ``k`` holds a part of the sum over row ``k % 8``."""

    def codegen(ctx, b, sig, args):
        return _fold(b, [_fold_four(b, args[:4]), _fold_four(b, args[4:])], 4)[0]

    return vector(*[vector] * 8), codegen


@intrinsic
def sum_folded(typing, source, step):
    """From ``LANES / 4`` results of :func:`fold_four`, ``step`` bytes apart: lane ``k`` is the sum over row ``k``."""

    def codegen(ctx, b, sig, args):
        addresses = [b.add(args[0], b.mul(args[1], INT64(i))) for i in range(LANES // 4)]
        rows = [b.load(pointer_at(b, address, FLOATS), align=4) for address in addresses]
        step = 4
        while step < LANES:
            rows = _fold(b, rows, step)
            step *= 2
        return rows[0]

    return vector(types.int64, types.int64), codegen
