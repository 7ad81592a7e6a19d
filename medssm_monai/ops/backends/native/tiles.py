"""Tiles: ``TILE`` tokens of ``LANES`` channels, token-major in scratch memory, whatever the layout of the tensor.

Channel-last tensors are read vector by vector, channel-first ones in square blocks that are transposed in registers;
everything else (scan orders on channel-first data, odd strides, the last channels or tokens) number by number.

Also the layout of the scratch memory of one thread: what lies how many bytes from its beginning. A tile of B or C has
states in place of channels.
"""

from __future__ import annotations

from numba import njit

from .blocks import transpose_block
from .maths import constant, inline
from .records import STATES, TILE
from .vector import LANES, ROW, load, load_index, load_int32, load_number, prefetch, store, store_index, store_number

__all__ = [
    "DECAY",
    "DELTA",
    "DS",
    "DY",
    "LIMITS",
    "TILE_BYTES",
    "TOKENS",
    "WEIGHTS",
    "H",
    "P",
    "U",
    "X",
    "Y",
    "accumulator_bytes",
    "ask_for_tile",
    "fill_offsets",
    "read_tile",
    "weight_bytes",
    "write_tile",
]

TILE_BYTES = TILE * ROW
LINE = 64  # bytes that a cache fetches at once

DELTA, U, X, Y = (i * TILE_BYTES for i in range(4))  # step, input, what B multiplies, output
DY, P, DS = (i * TILE_BYTES for i in range(4, 7))  # gradients of the output, of the step, and their sum over states
# STATES rows a token: state before it (one token more); exp(delta A), with the zero-order hold exp(delta A) - 1
H = 7 * TILE_BYTES
DECAY = H + STATES * (TILE_BYTES + ROW)
TOKENS = DECAY + STATES * TILE_BYTES  # byte offsets of the tile's tokens in a tensor
LIMITS = TOKENS + 8 * TILE  # least and greatest step of the tile
WEIGHTS = LIMITS + 2 * ROW  # planes of B, then of C: LANES states for every token


def weight_bytes(states: int) -> int:
    """Size of the planes of B and C together."""
    return 2 * -(-states // LANES) * TILE_BYTES


def accumulator_bytes(states: int) -> int:
    """Size of the partial sums of dB and dC together: (token, STATES states, lanes folded together)."""
    return 2 * TILE * -(-states // LANES) * (LANES // STATES) * ROW


@inline
def fill_offsets(offsets, order, first, count, step):
    """Byte offsets of ``count`` tokens from ``first`` on, ``step`` bytes apart; ``order``: table of positions, or 0."""
    for t in range(count):
        position = first + t
        if order != 0:
            position = load_int32(order + 4 * position)
        store_index(offsets + 8 * t, position * step)


@njit(error_model="numpy", nogil=True)
def ask_for_tile(source, channel_step, token_step, order, first, count, valid):
    """Start to bring a tile into the cache: a processor foresees neither scan orders nor hundreds of parallel rows."""
    if channel_step == 4:
        for t in range(first, first + count):
            position = load_int32(order + 4 * t) if order != 0 else t
            for byte in range(0, 4 * valid, LINE):
                prefetch(source + position * token_step + byte)
    elif token_step == 4 and order == 0:
        for j in range(valid):
            for byte in range(4 * first, 4 * (first + count), LINE):
                prefetch(source + j * channel_step + byte)


@njit(error_model="numpy", nogil=True)
def read_tile(target, source, channel_step, token_step, offsets, count, valid, ordered):
    """``count`` tokens of ``valid <= LANES`` channels from ``source`` into ``target``; missing lanes become 0."""
    if valid == LANES and channel_step == 4:
        for t in range(count):
            store(target + t * ROW, load(source + load_index(offsets + 8 * t)))
        return
    done = 0
    if valid == LANES and token_step == 4 and not ordered:
        start = source + load_index(offsets)
        while done + LANES <= count:
            transpose_block(start + 4 * done, channel_step, target + done * ROW, ROW)
            done += LANES
    for t in range(done, count):
        if valid < LANES:
            store(target + t * ROW, constant(0.0))
        token = source + load_index(offsets + 8 * t)
        for j in range(valid):
            store_number(target + t * ROW + 4 * j, load_number(token + j * channel_step))


@njit(error_model="numpy", nogil=True)
def write_tile(source, target, channel_step, token_step, offsets, count, valid, ordered):
    """The reverse of :func:`read_tile`."""
    if valid == LANES and channel_step == 4:
        for t in range(count):
            store(target + load_index(offsets + 8 * t), load(source + t * ROW))
        return
    done = 0
    if valid == LANES and token_step == 4 and not ordered:
        start = target + load_index(offsets)
        while done + LANES <= count:
            transpose_block(source + done * ROW, ROW, start + 4 * done, channel_step)
            done += LANES
    for t in range(done, count):
        token = target + load_index(offsets + 8 * t)
        for j in range(valid):
            store_number(token + j * channel_step, load_number(source + t * ROW + 4 * j))
