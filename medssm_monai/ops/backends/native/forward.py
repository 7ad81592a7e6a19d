"""Forward kernel: tiles from the first to the last, in each all channel blocks of a chunk, which share B and C."""

from __future__ import annotations

from numba import carray, njit

from .call import next_unit, own_scratch, parameters_at, unit_is_done
from .compile import compiled
from .forward_sweep import sweep
from .maths import constant, sigmoid, softplus
from .projection import project
from .records import RECORD, STATES, TILE
from .tiles import (
    DELTA,
    LIMITS,
    TILE_BYTES,
    TOKENS,
    WEIGHTS,
    U,
    X,
    Y,
    ask_for_tile,
    fill_offsets,
    read_tile,
    write_tile,
)
from .vector import LANES, ROW, load, maximum, minimum, pointer_to, store

__all__ = ["ask_for_input", "forward_kernel", "prepare_step", "read_projected_weights", "read_weights"]


@njit(error_model="numpy", nogil=True)
def read_weights(scratch, target, source, state_step, token_step, order, first, count, states):
    """B or C of one tile into planes of ``LANES`` states, token-major; states beyond ``states`` become 0."""
    fill_offsets(scratch + TOKENS, order, first, count, token_step)
    for n in range(0, states, LANES):
        valid = min(LANES, states - n)
        read_tile(target, source + n * state_step, state_step, token_step, scratch + TOKENS, count, valid, order)
        target += TILE_BYTES


@njit(error_model="numpy", nogil=True)
def read_projected_weights(p, scratch, c_planes, count):
    """B and C of one tile from the work memory of :mod:`.projection`."""
    from_b = scratch + p.work + p.blocks * ROW
    from_c = from_b + (p.states + LANES - 1) // LANES * ROW
    read_weights(scratch, scratch + WEIGHTS, from_b, 4, p.columns, 0, 0, count, p.states)
    read_weights(scratch, c_planes, from_c, 4, p.columns, 0, 0, count, p.states)


@njit(error_model="numpy", nogil=True)
def ask_for_input(p, b, g, e, order, first, count):
    """Start to bring a tile of input and step into the cache."""
    valid = min(LANES, p.channels - e)
    ask_for_tile(p.u + b * p.u_b + g * p.u_g + e * p.u_c, p.u_c, p.u_t, order, first, count, valid)
    source = p.delta + b * p.delta_b + g * p.delta_g + e * p.delta_c
    ask_for_tile(source, p.delta_c, p.delta_t, order, first, count, valid)


@njit(error_model="numpy", nogil=True)
def prepare_step(p, scratch, b, g, e, valid, order, first, count):
    """Read the tile's input and step; bias and softplus; ``X``: ``delta u``, for the zero-order hold ``u``."""
    channels = p.blocks * LANES
    fill_offsets(scratch + TOKENS, order, first, count, p.u_t)
    read_tile(scratch + U, p.u + b * p.u_b + g * p.u_g + e * p.u_c, p.u_c, p.u_t, scratch + TOKENS, count, valid, order)
    if p.steer != 0:
        fill_offsets(scratch + TOKENS, 0, 0, count, p.columns)
        read_tile(scratch + DELTA, scratch + p.work + 4 * e, 4, p.columns, scratch + TOKENS, count, LANES, 0)
    else:
        fill_offsets(scratch + TOKENS, order, first, count, p.delta_t)
        source = p.delta + b * p.delta_b + g * p.delta_g + e * p.delta_c
        read_tile(scratch + DELTA, source, p.delta_c, p.delta_t, scratch + TOKENS, count, valid, order)
    bias = constant(0.0)
    if p.bias != 0:
        bias = load(p.bias + 4 * (g * channels + e))
    low, high = constant(3e38), constant(-3e38)
    for t in range(count):
        row = scratch + t * ROW
        delta = load(row + DELTA) + bias
        if p.softplus:
            delta = softplus(delta)
        store(row + DELTA, delta)
        low, high = minimum(low, delta), maximum(high, delta)
        x = load(row + U)
        if not p.zoh:
            x = x * delta
        store(row + X, x)
    store(scratch + LIMITS, low)
    store(scratch + LIMITS + ROW, high)


@njit(error_model="numpy", nogil=True)
def _sweep_states(p, scratch, c_planes, g, e, count, n_first, n_last, h_row):
    """All rows of the state in ``[n_first, n_last)`` over the tile; adds their output to ``Y``."""
    step = 4 * p.blocks * LANES
    weight = 4 * (g * p.padded_states * p.blocks * LANES + e)
    for n in range(n_first, n_last, STATES):
        i = n - n_first
        at = i // LANES * TILE_BYTES + 4 * (i % LANES)
        b, c = scratch + WEIGHTS + at, c_planes + at
        a, h, k = p.A + weight + n * step, h_row + n * step, p.coef + weight + n * step
        sweep(p.zoh, p.coef != 0, count, scratch, a, h, k, step, b, c)


@njit(error_model="numpy", nogil=True)
def _write_output(p, scratch, part, b, g, e, valid, order, first, count):
    """Skip and gate, then ``out``; with a gate also ``pre``, the output before it, for the backward pass."""
    if p.D != 0 and part == 0:
        skip = load(p.D + 4 * (g * p.blocks * LANES + e))
        for t in range(count):
            row = scratch + t * ROW
            store(row + Y, load(row + Y) + skip * load(row + U))
    if p.z != 0:
        if p.pre != 0:
            fill_offsets(scratch + TOKENS, order, first, count, p.pre_t)
            target = p.pre + b * p.pre_b + g * p.pre_g + e * p.pre_c
            write_tile(scratch + Y, target, p.pre_c, p.pre_t, scratch + TOKENS, count, valid, order)
        fill_offsets(scratch + TOKENS, order, first, count, p.z_t)
        source = p.z + b * p.z_b + g * p.z_g + e * p.z_c
        read_tile(scratch + X, source, p.z_c, p.z_t, scratch + TOKENS, count, valid, order)
        for t in range(count):
            row = scratch + t * ROW
            z = load(row + X)
            store(row + Y, load(row + Y) * z * sigmoid(z))
    fill_offsets(scratch + TOKENS, order, first, count, p.out_t)
    target = p.out + part * p.out_p + b * p.out_b + g * p.out_g + e * p.out_c
    write_tile(scratch + Y, target, p.out_c, p.out_t, scratch + TOKENS, count, valid, order)


@njit(error_model="numpy", nogil=True)
def _one_block(p, scratch, c_planes, part, b, g, e, n_first, n_last, order, first, count):
    """One tile of one block of channels."""
    channels = p.blocks * LANES
    step = 4 * channels
    valid = min(LANES, p.channels - e)
    sample = b * p.groups + g
    h_row = p.last + 4 * (sample * p.padded_states * channels + e)
    if first == 0:
        for n in range(n_first, n_last):
            store(h_row + n * step, constant(0.0))
    if p.bounds != 0:
        tiles = (p.length + TILE - 1) // TILE
        bound = p.bounds + 4 * ((sample * tiles + first // TILE) * p.padded_states * channels + e)
        for n in range(n_first, n_last):
            store(bound + n * step, load(h_row + n * step))
    prepare_step(p, scratch, b, g, e, valid, order, first, count)
    for t in range(count):
        store(scratch + Y + t * ROW, constant(0.0))
    _sweep_states(p, scratch, c_planes, g, e, count, n_first, n_last, h_row)
    _write_output(p, scratch, part, b, g, e, valid, order, first, count)


@njit(error_model="numpy", nogil=True)
def _unit(p, scratch, unit):
    """One part of the state of one chunk of channel blocks of one sample and group."""
    states_per_part = p.padded_states // p.parts
    c_planes = scratch + WEIGHTS + (states_per_part + LANES - 1) // LANES * TILE_BYTES
    blocks_per_chunk = (p.blocks + p.chunks - 1) // p.chunks
    part = unit % p.parts
    chunk = unit // p.parts % p.chunks
    g = unit // p.parts // p.chunks % p.groups
    b = unit // p.parts // p.chunks // p.groups
    order = p.order + 4 * g * p.length if p.order != 0 else 0
    n_first = part * states_per_part
    n_last = n_first + states_per_part
    states = min(n_last, p.states) - n_first
    from_b = p.B + b * p.B_b + g * p.B_g + n_first * p.B_c
    from_c = p.C + b * p.C_b + g * p.C_g + n_first * p.C_c
    first_block = chunk * blocks_per_chunk
    last_block = min(p.blocks, first_block + blocks_per_chunk)
    for first in range(0, p.length, TILE):
        count = min(TILE, p.length - first)
        if p.steer != 0:
            project(p, scratch, b, g, order, first, count)
            read_projected_weights(p, scratch, c_planes, count)
        else:
            read_weights(scratch, scratch + WEIGHTS, from_b, p.B_c, p.B_t, order, first, count, states)
            read_weights(scratch, c_planes, from_c, p.C_c, p.C_t, order, first, count, states)
        following = min(TILE, p.length - first - count)
        ask_for_tile(from_b, p.B_c, p.B_t, order, first + count, following, states)
        ask_for_tile(from_c, p.C_c, p.C_t, order, first + count, following, states)
        for block in range(first_block, last_block):
            e = block * LANES
            if block + 1 < last_block:
                ask_for_input(p, b, g, e + LANES, order, first, count)
            else:
                ask_for_input(p, b, g, first_block * LANES, order, first + count, following)
            _one_block(p, scratch, c_planes, part, b, g, e, n_first, n_last, order, first, count)


def forward_units(call):
    """Take units, each once whichever thread asks, until all are done; compiled by :func:`.compile.compiled`."""
    p = carray(pointer_to(parameters_at(call)), 1, RECORD)[0]
    scratch = own_scratch(call)
    unit = next_unit(call)
    while unit >= 0:
        _unit(p, scratch, unit)
        unit_is_done(call)
        unit = next_unit(call)


forward_kernel = compiled(forward_units, seconds=15, what="the selective scan (forward pass)")
