"""Backward kernel: tiles from the last to the first, in each all channel blocks of a chunk, which share dB and dC."""

from __future__ import annotations

from numba import carray, njit

from .backward_sweep import sweeps
from .blocks import sum_folded
from .call import next_unit, own_scratch, parameters_at, unit_is_done
from .compile import compiled
from .forward import ask_for_input, prepare_step, read_projected_weights, read_weights
from .maths import constant, one_minus_exp, sigmoid
from .projection import keep_input_gradient, project, pull_back_projection
from .records import RECORD, STATES, TILE
from .tiles import (
    DELTA,
    DS,
    DY,
    TILE_BYTES,
    TOKENS,
    WEIGHTS,
    P,
    U,
    Y,
    ask_for_tile,
    fill_offsets,
    read_tile,
    write_tile,
)
from .vector import LANES, ROW, load, pointer_to, store

__all__ = ["backward_kernel"]


@njit(error_model="numpy", nogil=True)
def _ask_for_rows(p, b, g, e, order, first, count):
    """Start to bring a tile of input, step and output gradient into the cache."""
    ask_for_input(p, b, g, e, order, first, count)
    source = p.dout + b * p.dout_b + g * p.dout_g + e * p.dout_c
    ask_for_tile(source, p.dout_c, p.dout_t, order, first, count, min(LANES, p.channels - e))


@njit(error_model="numpy", nogil=True)
def _output_gradient(p, scratch, part, b, g, e, valid, order, first, count):
    """``DY``: gradient of the output before the gate; writes the gate's own gradient."""
    fill_offsets(scratch + TOKENS, order, first, count, p.dout_t)
    source = p.dout + b * p.dout_b + g * p.dout_g + e * p.dout_c
    read_tile(scratch + DY, source, p.dout_c, p.dout_t, scratch + TOKENS, count, valid, order)
    if p.z == 0:
        return
    fill_offsets(scratch + TOKENS, order, first, count, p.z_t)
    source = p.z + b * p.z_b + g * p.z_g + e * p.z_c
    read_tile(scratch + P, source, p.z_c, p.z_t, scratch + TOKENS, count, valid, order)
    fill_offsets(scratch + TOKENS, order, first, count, p.pre_t)
    source = p.pre + b * p.pre_b + g * p.pre_g + e * p.pre_c
    read_tile(scratch + Y, source, p.pre_c, p.pre_t, scratch + TOKENS, count, valid, order)
    for t in range(count):
        row = scratch + t * ROW
        z, dout = load(row + P), load(row + DY)
        s = sigmoid(z)
        store(row + DY, dout * z * s)
        store(row + Y, dout * load(row + Y) * s * (constant(1.0) + z * (constant(1.0) - s)))
    if part == 0:
        fill_offsets(scratch + TOKENS, order, first, count, p.dz_t)
        target = p.dz + b * p.dz_b + g * p.dz_g + e * p.dz_c
        write_tile(scratch + Y, target, p.dz_c, p.dz_t, scratch + TOKENS, count, valid, order)


@njit(error_model="numpy", nogil=True)
def _all_states(p, scratch, c_planes, acc, acc_bytes, b, g, e, tile, count, n_first, n_last):
    """Both sweeps for all rows of the state in ``[n_first, n_last)``."""
    channels = p.blocks * LANES
    step = 4 * channels
    weight = 4 * (g * p.padded_states * channels + e)
    grad = 4 * ((b * p.groups + g) * p.padded_states * channels + e)
    tiles = (p.length + TILE - 1) // TILE
    bound = p.bounds + 4 * (((b * p.groups + g) * tiles + tile) * p.padded_states * channels + e)
    scaled = p.coef != 0
    for n in range(n_first, n_last, STATES):
        i, row = n - n_first, n * step
        at = i // LANES * TILE_BYTES + 4 * (i % LANES)
        grads = (p.dlast + grad + row, p.dA + grad + row, p.dcoef + grad + row)
        rows = (bound + row, p.A + weight + row, p.coef + weight + row, grads)
        to_b = acc + i // STATES * TILE_BYTES
        sums = (to_b, to_b + acc_bytes)
        sweeps(p.zoh, scaled, count, scratch, sums, rows, step, scratch + WEIGHTS + at, c_planes + at)


@njit(error_model="numpy", nogil=True)
def _write_gradients(p, scratch, part, b, g, e, valid, order, first, count):
    """``ddelta`` and ``du`` of the tile; adds to the sums for ``D`` and ``delta_bias``."""
    channel = 4 * (g * p.blocks * LANES + e)
    total = channel + 4 * b * p.groups * p.blocks * LANES
    has_skip = p.D != 0 and part == 0
    skip = constant(0.0)
    dskip = constant(0.0)
    if has_skip:
        skip, dskip = load(p.D + channel), load(p.dD + total)
    dbias = load(p.dbias + part * p.dbias_p + total)
    for t in range(count):
        row = scratch + t * ROW
        delta, u, dy = load(row + DELTA), load(row + U), load(row + DY)
        ddelta, du = load(row + P), load(row + DS)
        if not p.zoh:
            ddelta = ddelta + u * du
            du = du * delta
        du = du + skip * dy
        dskip = dskip + dy * u
        if p.softplus:
            ddelta = ddelta * one_minus_exp(delta)
        dbias = dbias + ddelta
        store(row + P, ddelta)
        store(row + DS, du)
    if has_skip:
        store(p.dD + total, dskip)
    store(p.dbias + part * p.dbias_p + total, dbias)
    if p.steer != 0:
        fill_offsets(scratch + TOKENS, 0, 0, count, p.columns)
        write_tile(scratch + P, scratch + p.work + 4 * e, 4, p.columns, scratch + TOKENS, count, LANES, 0)
        keep_input_gradient(p, scratch, e, count)
        return
    fill_offsets(scratch + TOKENS, order, first, count, p.ddelta_t)
    target = p.ddelta + part * p.ddelta_p + b * p.ddelta_b + g * p.ddelta_g + e * p.ddelta_c
    write_tile(scratch + P, target, p.ddelta_c, p.ddelta_t, scratch + TOKENS, count, valid, order)
    fill_offsets(scratch + TOKENS, order, first, count, p.du_t)
    target = p.du + part * p.du_p + b * p.du_b + g * p.du_g + e * p.du_c
    write_tile(scratch + DS, target, p.du_c, p.du_t, scratch + TOKENS, count, valid, order)


@njit(error_model="numpy", nogil=True)
def _write_sums(scratch, source, target, state_step, token_step, order, first, count, states):
    """Sum partial dB or dC of a tile over lanes and write them, ``LANES`` states at a time."""
    fill_offsets(scratch + TOKENS, order, first, count, token_step)
    for n in range(0, states, LANES):
        for t in range(count):
            store(scratch + Y + t * ROW, sum_folded(source + n // STATES * TILE_BYTES + t * ROW, TILE_BYTES))
        valid = min(LANES, states - n)
        address = target + n * state_step
        write_tile(scratch + Y, address, state_step, token_step, scratch + TOKENS, count, valid, order)


@njit(error_model="numpy", nogil=True)
def _clear_sums(p, part, b, g, first_block, last_block, n_first, n_last):
    """Start the sums over tokens that this unit owns."""
    channels = p.blocks * LANES
    for e in range(first_block * LANES, last_block * LANES, LANES):
        total = 4 * ((b * p.groups + g) * channels + e)
        store(p.dbias + part * p.dbias_p + total, constant(0.0))
        if part == 0:
            store(p.dD + total, constant(0.0))
        for n in range(n_first, n_last):
            entry = 4 * (((b * p.groups + g) * p.padded_states + n) * channels + e)
            store(p.dA + entry, constant(0.0))
            if p.dcoef != 0:
                store(p.dcoef + entry, constant(0.0))
            if not p.has_dlast:
                store(p.dlast + entry, constant(0.0))


@njit(error_model="numpy", nogil=True)
def _unit(p, scratch, unit):
    """One part of the state of one chunk of channel blocks of one sample and group."""
    states_per_part = p.padded_states // p.parts
    planes = (states_per_part + LANES - 1) // LANES
    acc_bytes = planes * (LANES // STATES) * TILE_BYTES
    c_planes = scratch + WEIGHTS + planes * TILE_BYTES
    acc = c_planes + planes * TILE_BYTES
    blocks_per_chunk = (p.blocks + p.chunks - 1) // p.chunks
    tiles = (p.length + TILE - 1) // TILE
    part = unit % p.parts
    chunk = unit // p.parts % p.chunks
    g = unit // p.parts // p.chunks % p.groups
    b = unit // p.parts // p.chunks // p.groups
    n_first = part * states_per_part
    n_last = n_first + states_per_part
    order = p.order + 4 * g * p.length if p.order != 0 else 0
    states = min(n_last, p.states) - n_first
    from_b = p.B + b * p.B_b + g * p.B_g + n_first * p.B_c
    from_c = p.C + b * p.C_b + g * p.C_g + n_first * p.C_c
    to_b = p.dB + chunk * p.weights_s + b * p.dB_b + g * p.dB_g + n_first * p.dB_c
    to_c = p.dC + chunk * p.weights_s + b * p.dC_b + g * p.dC_g + n_first * p.dC_c
    first_block = chunk * blocks_per_chunk
    last_block = min(p.blocks, first_block + blocks_per_chunk)
    _clear_sums(p, part, b, g, first_block, last_block, n_first, n_last)
    if p.steer != 0:
        rows = p.columns // 4 * p.blocks
        for row in range(rows):
            store(p.dsteer + ((b * p.groups + g) * rows + row) * ROW, constant(0.0))
    for i in range(tiles):
        tile = tiles - 1 - i
        first = tile * TILE
        count = min(TILE, p.length - first)
        if p.steer != 0:
            project(p, scratch, b, g, order, first, count)
            read_projected_weights(p, scratch, c_planes, count)
        else:
            read_weights(scratch, scratch + WEIGHTS, from_b, p.B_c, p.B_t, order, first, count, states)
            read_weights(scratch, c_planes, from_c, p.C_c, p.C_t, order, first, count, states)
        for row in range(2 * acc_bytes // ROW):
            store(acc + row * ROW, constant(0.0))
        before = max(0, first - TILE)
        ask_for_tile(from_b, p.B_c, p.B_t, order, before, first - before, states)
        ask_for_tile(from_c, p.C_c, p.C_t, order, before, first - before, states)
        for block in range(first_block, last_block):
            e = block * LANES
            valid = min(LANES, p.channels - e)
            if block + 1 < last_block:
                _ask_for_rows(p, b, g, e + LANES, order, first, count)
            else:
                _ask_for_rows(p, b, g, first_block * LANES, order, before, first - before)
            prepare_step(p, scratch, b, g, e, valid, order, first, count)
            _output_gradient(p, scratch, part, b, g, e, valid, order, first, count)
            for t in range(count):
                store(scratch + P + t * ROW, constant(0.0))
                store(scratch + DS + t * ROW, constant(0.0))
            _all_states(p, scratch, c_planes, acc, acc_bytes, b, g, e, tile, count, n_first, n_last)
            _write_gradients(p, scratch, part, b, g, e, valid, order, first, count)
        acc_c = acc + acc_bytes
        if p.steer != 0:
            to_b = scratch + p.work + p.blocks * ROW
            to_c = to_b + planes * ROW
            _write_sums(scratch, acc, to_b, 4, p.columns, 0, 0, count, states)
            _write_sums(scratch, acc_c, to_c, 4, p.columns, 0, 0, count, states)
            pull_back_projection(p, scratch, b, g, order, first, count)
        else:
            _write_sums(scratch, acc, to_b, p.dB_c, p.dB_t, order, first, count, states)
            _write_sums(scratch, acc_c, to_c, p.dC_c, p.dC_t, order, first, count, states)


def backward_units(call):
    """Take units, each once whichever thread asks, until all are done; compiled by :func:`.compile.compiled`."""
    p = carray(pointer_to(parameters_at(call)), 1, RECORD)[0]
    scratch = own_scratch(call)
    unit = next_unit(call)
    while unit >= 0:
        _unit(p, scratch, unit)
        unit_is_done(call)
        unit = next_unit(call)


backward_kernel = compiled(backward_units, seconds=25, what="the selective scan (backward pass)")
