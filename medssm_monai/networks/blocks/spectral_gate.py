"""Spectral gate of Mamba-MIS: a learnt filter on the Fourier transform of every channel, in 2D or 3D."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from ...ops.arguments import cast
from ...ops.spectral import spectral_filter
from ...ops.tracing import without_autocast
from ..layers import irdftn, rdftn
from ..layers.real_dft import MAX_SIZE, constant

__all__ = ["SpectralGate"]


class SpectralGate(nn.Module):
    """``irfft2(W ⊙ rfft2(x) + b)`` per channel with orthonormal transforms, in float32 with autocast off.

    ``W`` (initially 0.02·N(0, 1)) and ``b`` (initially 0) are stored as real pairs ``(C, H, W//2 + 1, 2)`` for the map
    size that the network was built for. Departure from the authors' code, whose weights are tied to that size: for
    another map size they are resampled by linear interpolation along each axis of the complex values at the same
    frequency in cycles per pixel (periodic along H), so that one checkpoint serves every input size.

    Decision, as the source is 2D only: in 3D the transform goes over all three axes, and the weights are
    ``(C, X, Y, Z//2 + 1, 2)``. The values of a large map are far too many there, so a network stores them on a coarser
    grid (``spectral_grid`` of :class:`~medssm_monai.networks.nets.MambaMIS`), from which they are resampled for every
    map in the same way: a filter that is smooth over the frequencies, in space one that reaches about as many voxels as
    the grid has.

    Args:
        channels: ``C``.
        spatial_size: height and width, or three sides, of the map the weights are stored for.

    Raises:
        ValueError: when ``spatial_size`` has other than two or three sides, or one of them is below 1.
    """

    def __init__(self, channels: int, spatial_size: Sequence[int]) -> None:
        super().__init__()
        self.spatial_size = tuple(int(s) for s in spatial_size)
        if len(self.spatial_size) not in (2, 3) or min(self.spatial_size) < 1:
            raise ValueError(f"spatial_size must be two or three positive integers, got {tuple(spatial_size)}.")
        shape = (channels, *_stored_shape(self.spatial_size))
        self.weight = nn.Parameter(0.02 * torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.built_size: torch.Tensor
        self.register_buffer("built_size", torch.tensor(self.spatial_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Channel-last map ``(B, *spatial, C)`` to the same shape and dtype."""
        with without_autocast(x.device.type):
            size = tuple(x.shape[1:-1])
            weight, bias = (
                _resample(cast(p, torch.float32), self.spatial_size, size) for p in (self.weight, self.bias)
            )
            maps = cast(x, torch.float32).movedim(-1, 1)  # (B, C, *spatial)
            by_products = torch.compiler.is_exporting() and max(size) <= MAX_SIZE
            filtered = (_filter_by_products if by_products else spectral_filter)(maps, weight, bias)
            return cast(filtered.movedim(1, -1), x.dtype)

    def fit_state(self, state_dict: MutableMapping[str, Any], prefix: str = "") -> None:
        """Resample stored weights of another map size for this one, in place; any network's ``load_state_dict`` does.
        Those that are not as large as their ``built_size`` says stay as they are, for PyTorch to refuse.

        Args:
            state_dict: names and tensors, this gate's among them.
            prefix: before the names of this gate, ``"encoder.0.0.spectral."`` for instance.
        """
        stored = state_dict.get(prefix + "built_size")
        if stored is None:
            return
        size = stored.flatten().tolist()
        for name in ("weight", "bias"):
            value = state_dict.get(prefix + name)
            if value is not None and len(size) == len(self.spatial_size) and value.shape[1:] == _stored_shape(size):
                state_dict[prefix + name] = _resample(value, size, self.spatial_size)
        state_dict[prefix + "built_size"] = self.built_size.clone()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self.fit_state(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _stored_shape(size: Sequence[int]) -> tuple[int, ...]:
    """Of the weights of one channel for maps of ``size``."""
    *sides, width = size
    return (*sides, width // 2 + 1, 2)


def _filter_by_products(maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The same in real arithmetic and without an FFT, for ``torch.export`` and ONNX."""
    (a, b), (c, d) = weight.unbind(-1), bias.unbind(-1)
    dims = maps.ndim - 2
    real, imag = rdftn(maps, dims)
    return irdftn(a * real - b * imag + c, a * imag + b * real + d, maps.shape[-1], dims)


def _resample(values: torch.Tensor, source: Sequence[int], target: Sequence[int]) -> torch.Tensor:
    """Filter ``(C, H0, W0//2 + 1, 2)`` for maps of size ``source`` as one for maps of size ``target``; so in 3D."""
    for dim, (before, now) in enumerate(zip(source, target, strict=True), start=1):
        if now != before:
            below, above, fraction = _neighbors(before, now, dim == len(target))
            low, high = (values.index_select(dim, constant(at, values.device)) for at in (below, above))
            share = constant(fraction.reshape([-1 if d == dim else 1 for d in range(values.ndim)]), values.device)
            values = low + share * (high - low)
    return values


@lru_cache(maxsize=64)
def _neighbors(before: int, now: int, half: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each frequency of ``now`` places the two of ``before`` places around it, and how far it is from the first.

    ``half``: the frequencies are those of a real transform, which end; else they are periodic. Arrays, not tensors, so
    that exporters find constants; in float32, as ``torch.fft.fftfreq`` computes.
    """
    order = np.arange(now // 2 + 1) if half else np.concatenate([np.arange((now + 1) // 2), np.arange(-(now // 2), 0)])
    position = order.astype(np.float32) * np.float32(1 / now) * np.float32(before)
    low = np.floor(position)
    first, last = low.astype(np.int64), before // 2
    below, above = ((first + i).clip(0, last) if half else (first + i) % before for i in (0, 1))
    return below, above, position - low
