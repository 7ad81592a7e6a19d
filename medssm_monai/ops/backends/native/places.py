"""Where things lie in the scratch memory of one thread, in bytes from its beginning.

A tile holds ``TILE`` tokens of ``LANES`` channels (or states), one vector per token.
"""

from __future__ import annotations

from .params import STATES, TILE
from .vector import LANES, ROW

TILE_BYTES = TILE * ROW

DELTA, U, X, Y = (i * TILE_BYTES for i in range(4))  # step, input, what B multiplies, output
DY, P, DS = (i * TILE_BYTES for i in range(4, 7))  # gradients of the output, of the step, and their sum over states
H, DECAY, W = (
    (7 + STATES * i) * TILE_BYTES for i in range(3)
)  # state, exp(delta A), zero-order weight: STATES rows a token
TOKENS = (7 + 3 * STATES) * TILE_BYTES  # byte offsets of the tile's tokens in a tensor
WEIGHTS = TOKENS + 8 * TILE  # planes of B, then of C: LANES states for every token


def weight_bytes(states: int) -> int:
    """Size of the planes of B and C together."""
    return 2 * -(-states // LANES) * TILE_BYTES


def accumulator_bytes(states: int) -> int:
    """Size of the partial sums of dB and dC together: (token, STATES states, lanes folded together)."""
    return 2 * TILE * -(-states // LANES) * (LANES // STATES) * ROW
