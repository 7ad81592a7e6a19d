"""Step, B and C from the input itself, a tile at a time: for scans that are steered by linear layers of their input.

The rows ``W (J, K)`` of these layers stand below one another: ``E`` of the step, ``N`` of B, ``N`` of C, each padded to
whole vectors. A thread's work memory holds for every token of the tile the ``J`` results, which the backward pass
replaces by their gradients, then planes of the input and of its gradient: ``LANES`` channels for every token.
"""

from __future__ import annotations

from numba import njit

from .maths import constant
from .records import TILE
from .tiles import DS, TILE_BYTES, TOKENS, fill_offsets, read_tile, write_tile
from .vector import LANES, ROW, load, splat_at, store

__all__ = ["keep_input_gradient", "project", "projection_bytes", "pull_back_projection"]

TOKENS_AT_ONCE = 8


def projection_bytes(columns: int, blocks: int) -> int:
    """Size of the work memory; ``columns``: ``J``."""
    return 4 * columns * TILE + 2 * blocks * TILE_BYTES


@njit(error_model="numpy", nogil=True)
def _product(count, out, out_step, x, x_step, terms, matrix, matrix_step, accumulate):
    """One register of outputs for every token: ``out[t] (+)= sum_k x[t, k] matrix[k]``; steps in bytes."""
    t = 0
    while t + TOKENS_AT_ONCE <= count:
        x0, at = x + t * x_step, out + t * out_step
        x1, x2, x3 = x0 + x_step, x0 + 2 * x_step, x0 + 3 * x_step
        x4, x5, x6, x7 = x0 + 4 * x_step, x0 + 5 * x_step, x0 + 6 * x_step, x0 + 7 * x_step
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = constant(0.0)
        if accumulate:
            a0, a1, a2, a3 = load(at), load(at + out_step), load(at + 2 * out_step), load(at + 3 * out_step)
            a4, a5 = load(at + 4 * out_step), load(at + 5 * out_step)
            a6, a7 = load(at + 6 * out_step), load(at + 7 * out_step)
        for k in range(terms):
            row = load(matrix + k * matrix_step)
            a0, a1 = a0 + splat_at(x0 + 4 * k) * row, a1 + splat_at(x1 + 4 * k) * row
            a2, a3 = a2 + splat_at(x2 + 4 * k) * row, a3 + splat_at(x3 + 4 * k) * row
            a4, a5 = a4 + splat_at(x4 + 4 * k) * row, a5 + splat_at(x5 + 4 * k) * row
            a6, a7 = a6 + splat_at(x6 + 4 * k) * row, a7 + splat_at(x7 + 4 * k) * row
        store(at, a0)
        store(at + out_step, a1)
        store(at + 2 * out_step, a2)
        store(at + 3 * out_step, a3)
        store(at + 4 * out_step, a4)
        store(at + 5 * out_step, a5)
        store(at + 6 * out_step, a6)
        store(at + 7 * out_step, a7)
        t += TOKENS_AT_ONCE
    while t < count:
        at = out + t * out_step
        a0 = constant(0.0)
        if accumulate:
            a0 = load(at)
        for k in range(terms):
            a0 = a0 + splat_at(x + t * x_step + 4 * k) * load(matrix + k * matrix_step)
        store(at, a0)
        t += 1


@njit(error_model="numpy", nogil=True)
def _add_outer_products(count, target, row_step, z, z_step, rows, x):
    """``target[j] += sum_t z[t, j] x[t]`` for one register of ``x``; ``rows`` is a multiple of 8."""
    for j in range(0, rows, 8):
        at = target + j * row_step
        a0, a1, a2, a3 = load(at), load(at + row_step), load(at + 2 * row_step), load(at + 3 * row_step)
        a4, a5 = load(at + 4 * row_step), load(at + 5 * row_step)
        a6, a7 = load(at + 6 * row_step), load(at + 7 * row_step)
        for t in range(count):
            v, s = load(x + t * ROW), z + t * z_step + 4 * j
            a0, a1 = a0 + splat_at(s) * v, a1 + splat_at(s + 4) * v
            a2, a3 = a2 + splat_at(s + 8) * v, a3 + splat_at(s + 12) * v
            a4, a5 = a4 + splat_at(s + 16) * v, a5 + splat_at(s + 20) * v
            a6, a7 = a6 + splat_at(s + 24) * v, a7 + splat_at(s + 28) * v
        store(at, a0)
        store(at + row_step, a1)
        store(at + 2 * row_step, a2)
        store(at + 3 * row_step, a3)
        store(at + 4 * row_step, a4)
        store(at + 5 * row_step, a5)
        store(at + 6 * row_step, a6)
        store(at + 7 * row_step, a7)


@njit(error_model="numpy", nogil=True)
def project(p, scratch, b, g, order, first, count):
    """Fill the work memory of a tile with raw steps, B and C; keeps the input beside them."""
    work = scratch + p.work
    planes = work + p.columns * TILE
    fill_offsets(scratch + TOKENS, order, first, count, p.u_t)
    for block in range(p.blocks):
        e = block * LANES
        valid = min(LANES, p.channels - e)
        source = p.u + b * p.u_b + g * p.u_g + e * p.u_c
        plane = planes + block * TILE_BYTES
        read_tile(plane, source, p.u_c, p.u_t, scratch + TOKENS, count, valid, order)
        matrix = p.steer + (g * p.blocks + block) * LANES * p.columns
        for j in range(0, p.columns, ROW):
            _product(count, work + j, p.columns, plane, ROW, valid, matrix + j, p.columns, block > 0)


@njit(error_model="numpy", nogil=True)
def keep_input_gradient(p, scratch, e, count):
    """Set the gradient of the input through the scan itself aside."""
    plane = scratch + p.work + p.columns * TILE + (p.blocks + e // LANES) * TILE_BYTES
    for t in range(count):
        store(plane + t * ROW, load(scratch + DS + t * ROW))


@njit(error_model="numpy", nogil=True)
def pull_back_projection(p, scratch, b, g, order, first, count):
    """From the gradients of steps, B and C in the work memory: that of the weights, and the whole one of the input."""
    work = scratch + p.work
    planes = work + p.columns * TILE
    width = p.blocks * ROW
    rows = p.columns // 4
    sums = p.dsteer + (b * p.groups + g) * rows * width
    fill_offsets(scratch + TOKENS, order, first, count, p.du_t)
    for block in range(p.blocks):
        e = block * LANES
        valid = min(LANES, p.channels - e)
        _add_outer_products(count, sums + block * ROW, width, work, p.columns, rows, planes + block * TILE_BYTES)
        plane = planes + (p.blocks + block) * TILE_BYTES
        matrix = p.steer_back + g * rows * width + block * ROW
        _product(count, plane, ROW, work, p.columns, rows, matrix, width, True)
        target = p.du + b * p.du_b + g * p.du_g + e * p.du_c
        write_tile(plane, target, p.du_c, p.du_t, scratch + TOKENS, count, valid, order)
