"""Kernels between the Fourier transforms of a spectral filter: products with it, and all its gradients in one pass.

Complex numbers are pairs ``(real, imaginary)`` side by side, as PyTorch's. ``forward``: ``out = W x + b`` for every
sample. ``backward``: with ``g`` the spectrum of the gradient, ``dW = m sum(conj(x) g)``, ``db = m sum(g)`` over the
samples, then ``g = conj(W) g`` in its own memory; ``m`` is 2 for columns that stand for two frequencies, else 1.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from ..backends.native.call import next_unit, parameters_at, unit_is_done
from ..backends.native.compile import compiled
from ..backends.native.vector import pointer_to

__all__ = ["BACKWARD", "FIELDS", "FORWARD", "spectral_kernel"]

FIELDS = (
    *("task", "batch", "rows", "columns", "doubled", "run"),
    *("spectrum", "weight", "bias", "out", "gradient", "dweight", "dbias"),
)
RECORD = np.dtype([(name, np.int64) for name in FIELDS])
FORWARD, BACKWARD = range(2)

kernel = njit(error_model="numpy", nogil=True)


@kernel
def _filter(x, w, b, out):
    for i in range(x.size):
        out[i] = b[i] + w[i] * x[i]


@kernel
def _pull_back(x, w, g, dw, db):
    for i in range(x.size):
        back = g[i]
        dw[i] += x[i].conjugate() * back
        db[i] += back
        g[i] = w[i].conjugate() * back


@kernel
def _double(numbers, columns, doubled):
    for row in range(0, numbers.size, columns):
        for i in range(row + 1, row + doubled):
            numbers[i] *= np.float32(2.0)


@kernel
def _part(address, first, size):
    """``size`` complex numbers from number ``first`` on."""
    return carray(pointer_to(address + 8 * first), size, np.complex64)


def spectral_units(call):
    """Take units, each ``run`` rows of the spectra of all samples, until all are done."""
    p = carray(pointer_to(parameters_at(call)), 1, RECORD)[0]
    unit = next_unit(call)
    while unit >= 0:
        first = unit * p.run * p.columns
        size = min(p.rows - unit * p.run, p.run) * p.columns
        sample = p.rows * p.columns
        w = _part(p.weight, first, size)
        if p.task == FORWARD:
            bias = _part(p.bias, first, size)
            for b in range(p.batch):
                at = b * sample + first
                _filter(_part(p.spectrum, at, size), w, bias, _part(p.out, at, size))
        else:
            dw, db = _part(p.dweight, first, size), _part(p.dbias, first, size)
            dw[:] = 0
            db[:] = 0
            for b in range(p.batch):
                at = b * sample + first
                _pull_back(_part(p.spectrum, at, size), w, _part(p.gradient, at, size), dw, db)
            _double(dw, p.columns, p.doubled)
            _double(db, p.columns, p.doubled)
        unit_is_done(call)
        unit = next_unit(call)


spectral_kernel = compiled(spectral_units)
