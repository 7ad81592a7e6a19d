"""The scans that ``benchmarks.scan`` times: plain ones of growing size, and those that the package's networks make."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFAULT_SHAPES", "SHAPES", "Shape"]


class Shape(NamedTuple):
    """Sizes of a scan, and what a network adds to it."""

    channels: int  # E
    length: int  # L
    states: int  # N
    directions: int = 1
    network: bool = False  # raw steps (softplus inside) of channel-last tokens; B and C side by side in memory
    shared: bool = False  # one input for all directions, read in the order of each through a table
    gate: bool = False
    discretization: str | None = None  # None: what the command line says

    @property
    def plain(self) -> bool:
        """One direction of channel-first tokens with ready steps: what every candidate can compute."""
        return self.directions == 1 and not self.network


def _mamba_mis(channels: int, length: int) -> Shape:
    return Shape(channels, length, 32, directions=2, network=True, shared=True, discretization="zoh")


PLAIN = {
    "a": Shape(384, 784, 16),
    "b": Shape(768, 784, 16),
    "c": Shape(32, 4096, 32),
    "d": Shape(16, 65536, 32),
    "e": Shape(64, 32768, 16),
    "short": Shape(16, 1 << 14, 16),  # how the cost grows with the length
    "long": Shape(16, 1 << 17, 16),
}
NETWORKS = {
    "mis-8": _mamba_mis(8, 16384),  # Mamba-MIS at 128 pixels, level by level
    "mis-16": _mamba_mis(16, 1024),
    "mis-32": _mamba_mis(32, 256),
    "mis-64": _mamba_mis(64, 64),
    "mis-128": _mamba_mis(128, 16),
    "attention-1024": _mamba_mis(1, 1024),  # its spatial attention
    "attention-64": _mamba_mis(1, 64),
    "attention-1": Shape(8, 1, 32, network=True, discretization="zoh"),  # and channel attention
    "medconv": Shape(384, 784, 16, network=True, gate=True),
    "fmamba-2d": Shape(256, 1024, 8, directions=4, network=True, gate=True),
    "fmamba-3d": Shape(256, 512, 8, directions=8, network=True, gate=True),
}
SHAPES = PLAIN | NETWORKS
DEFAULT_SHAPES = ("a", "b", "c", "d", "e")
