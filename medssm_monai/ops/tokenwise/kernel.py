"""The kernel: walks over the tiles of tokens of a map and sends each through a program.

A program is a table of instructions, ``WIDTH`` integers each: an operation and what it needs (addresses of rows as
bytes from the beginning of the tile's memory, counts, addresses of weights, flags). See :mod:`.program`.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from ..backends.native.blocks import gather_block, scatter_block
from ..backends.native.call import next_unit, own_scratch, parameters_at, unit_is_done
from ..backends.native.compile import compiled
from ..backends.native.vector import (
    LANES,
    ROW,
    load,
    load_index,
    load_number,
    pointer_to,
    store,
    store_index,
    store_number,
)
from . import kernel_math as rows
from .kernel_linear import linear, linear_bias_gradient, linear_weight_gradient, wide_weight_gradient
from .kernel_norm import find_statistics, normalize, normalize_gradient

__all__ = [
    "ADD",
    "CLEAR",
    "COPY",
    "HEADER",
    "LINEAR",
    "LINEAR_BIAS",
    "LINEAR_WEIGHT",
    "LOAD",
    "MULTIPLY",
    "MULTIPLY_ADD",
    "NORM",
    "NORM_GRADIENT",
    "SILU",
    "SILU_AND_SLOPE",
    "STATISTICS",
    "STORE",
    "WIDE_WEIGHT",
    "WIDTH",
    "token_kernel",
]

WIDTH = 12
LOAD, STORE, CLEAR, COPY, ADD, MULTIPLY, MULTIPLY_ADD, SILU, SILU_AND_SLOPE = range(9)
LINEAR, LINEAR_BIAS, LINEAR_WEIGHT, WIDE_WEIGHT, STATISTICS, NORM, NORM_GRADIENT = range(9, 16)

HEADER = (
    10  # tokens, height, width, vectors a row, instructions, tiles a unit, sums, bytes of sums a unit, tokens' table,
    # bytes of sums to be cleared
)
TOKENS, HEIGHT, ACROSS, VECTORS, INSTRUCTIONS, TILES, SUMS, SUMS_STEP, TABLE, CLEARED = range(10)

kernel = njit(error_model="numpy", nogil=True)


@kernel
def _addresses(table, base, batch_step, height_step, width_step, first, count, height, width):
    """Addresses of ``count`` tokens from ``first`` on."""
    if height_step == width * width_step and batch_step == height * height_step:
        for t in range(count):
            store_index(table + 8 * t, base + (first + t) * width_step)
        return
    column = first % width
    line = first // width
    row = line % height
    start = base + line // height * batch_step + row * height_step
    for t in range(count):
        store_index(table + 8 * t, start + column * width_step)
        column += 1
        if column == width:
            column = 0
            row += 1
            start += height_step
            if row == height:
                row = 0
                start += batch_step - height * height_step


@kernel
def _side_by_side(table):
    """Whether ``LANES`` tokens lie one number after the other."""
    start, apart = load_index(table), 0
    for k in range(1, LANES):
        apart += abs(load_index(table + 8 * k) - start - 4 * k)
    return apart == 0


@kernel
def _load(target, row, table, channels, channel_step, count, tokens):
    """Channels of ``count`` tokens into rows; the other places of the tile become 0."""
    for t in range(0, tokens, LANES):
        at = target + 4 * t
        if t + LANES > count:
            for c in range(channels):
                for k in range(LANES):
                    number = np.float32(0.0)
                    if t + k < count:
                        number = load_number(load_index(table + 8 * (t + k)) + c * channel_step)
                    store_number(at + c * row + 4 * k, number)
        elif channel_step != 4 and _side_by_side(table + 8 * t):
            source = load_index(table + 8 * t)
            for c in range(channels):
                store(at + c * row, load(source + c * channel_step))
        else:
            c = 0
            if channel_step == 4:
                while c + LANES <= channels:
                    gather_block(table + 8 * t, 4 * c, at + c * row, row)
                    c += LANES
            while c < channels:
                for k in range(LANES):
                    source = load_index(table + 8 * (t + k))
                    store_number(at + c * row + 4 * k, load_number(source + c * channel_step))
                c += 1


@kernel
def _store(source, row, table, channels, channel_step, count):
    """The reverse of :func:`_load`."""
    for t in range(0, count, LANES):
        at = source + 4 * t
        if t + LANES > count:
            for c in range(channels):
                for k in range(count - t):
                    target = load_index(table + 8 * (t + k)) + c * channel_step
                    store_number(target, load_number(at + c * row + 4 * k))
        elif channel_step != 4 and _side_by_side(table + 8 * t):
            target = load_index(table + 8 * t)
            for c in range(channels):
                store(target + c * channel_step, load(at + c * row))
        else:
            c = 0
            if channel_step == 4:
                while c + LANES <= channels:
                    scatter_block(at + c * row, row, table + 8 * t, 4 * c)
                    c += LANES
            while c < channels:
                for k in range(LANES):
                    target = load_index(table + 8 * (t + k)) + c * channel_step
                    store_number(target, load_number(at + c * row + 4 * k))
                c += 1


@kernel
def _tile(p, code, scratch, sums, first, count, number):
    """One tile, of a unit's tiles that of this ``number``, through all instructions."""
    vectors = p[VECTORS]
    table = scratch + p[TABLE]
    for i in range(p[INSTRUCTIONS]):
        c = code + i * WIDTH
        what = p[c]
        a, b, d = scratch + p[c + 1], scratch + p[c + 2], scratch + p[c + 3]
        if what <= STORE:
            height, width = p[HEIGHT], p[ACROSS]
            _addresses(table, p[c + 4], p[c + 5], p[c + 6], p[c + 7], first, count, height, width)
            if what == LOAD:
                _load(a, p[c + 2], table, p[c + 3], p[c + 8], count, vectors * LANES)
            else:
                _store(a, p[c + 2], table, p[c + 3], p[c + 8], count)
        elif what == LINEAR:
            accumulate, y_row, outputs, x_row, inputs = p[c + 3], p[c + 4], p[c + 5], p[c + 6], p[c + 7]
            weight, out_step, in_step, bias = p[c + 8], p[c + 9], p[c + 10], p[c + 11]
            linear(a, y_row, outputs, b, x_row, 2 * ROW, inputs, weight, out_step, in_step, bias, accumulate, vectors)
        elif what == LINEAR_BIAS:
            linear_bias_gradient(sums + p[c + 3], a, p[c + 4], p[c + 5], vectors)
        elif what == LINEAR_WEIGHT:
            linear_weight_gradient(sums + p[c + 3], a, p[c + 4], p[c + 5], b, p[c + 6], p[c + 7], vectors)
        elif what == WIDE_WEIGHT:
            room, g_row, outputs, x_row, inputs = scratch + p[c + 8], p[c + 4], p[c + 5], p[c + 6], p[c + 7]
            wide_weight_gradient(sums + p[c + 3], a, g_row, outputs, b, x_row, inputs, room, number, vectors)
        elif what == STATISTICS:
            find_statistics(a, b, p[c + 4], p[c + 5], p[c + 6], vectors)
        elif what == NORM:
            normalize(a, p[c + 4], b, p[c + 5], d, p[c + 6], p[c + 7], p[c + 8], vectors)
        elif what == NORM_GRADIENT:
            statistics, x_row, dy_row, channels = scratch + p[c + 4], p[c + 5], p[c + 6], p[c + 7]
            to_weight = sums + p[c + 10] if p[c + 10] >= 0 else 0
            to_bias = sums + p[c + 11] if p[c + 11] >= 0 else 0
            weight, accumulate = p[c + 8], p[c + 9]
            normalize_gradient(
                a, b, x_row, d, dy_row, statistics, channels, weight, accumulate, to_weight, to_bias, vectors
            )
        elif what == SILU:
            rows.silu(a, b, p[c + 4])
        elif what == SILU_AND_SLOPE:
            rows.silu_and_slope(a, d, b, p[c + 4])
        elif what == ADD:
            rows.add_rows(a, b, d, p[c + 4])
        elif what == COPY:
            rows.copy_rows(a, b, p[c + 4])
        elif what == MULTIPLY:
            rows.multiply_rows(a, b, d, p[c + 4])
        elif what == MULTIPLY_ADD:
            rows.multiply_add_rows(a, b, d, p[c + 4])
        elif what == CLEAR:
            rows.clear(a, p[c + 4])


def tokenwise_units(call):
    """Take units, each a run of tiles with sums of its own, until all are done."""
    p = carray(pointer_to(parameters_at(call)), load_index(call + 8), np.int64)
    scratch = own_scratch(call)
    tile = p[VECTORS] * LANES
    unit = next_unit(call)
    while unit >= 0:
        sums = p[SUMS] + unit * p[SUMS_STEP]
        rows.clear(sums, p[CLEARED])  # the others are written by the first tile
        for i in range(p[TILES]):
            first = (unit * p[TILES] + i) * tile
            if first < p[TOKENS]:
                _tile(p, HEADER, scratch, sums, first, min(tile, p[TOKENS] - first), i)
        unit_is_done(call)
        unit = next_unit(call)


token_kernel = compiled(tokenwise_units, seconds=10, what="the fused chains of layers")
