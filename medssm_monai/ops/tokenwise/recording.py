"""Reads a chain of token-wise layers off the code that computes it.

The chain runs once on :class:`Rows` in place of tensors. PyTorch hands every layer that it meets to
``Rows.__torch_function__``, which notes it down; nothing is computed. What a tile of the kernel holds is a set of rows,
one a channel; views (``split``, ``cat``, ``unflatten``, ``movedim`` …) only rearrange their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["NotTokenwise", "Recording", "Rows", "Span", "Step", "record", "spans"]


class NotTokenwise(Exception):
    """The chain does something that the kernel does not know."""


class Span(NamedTuple):
    """Rows ``start, start + step, ...``, ``width`` of them."""

    start: int
    step: int
    width: int


class Step(NamedTuple):
    """One layer: ``norm``, ``linear``, ``silu``, ``add`` or ``multiply``.

    ``epsilon`` is that of a norm. A linear layer reads its input in parts, the spans of ``sources``, whose widths add
    up to the inputs of ``weight``; the others have one span for each operand.
    """

    kind: str
    target: Span
    sources: tuple[Span, ...]
    weight: Tensor | None = None
    bias: Tensor | None = None
    epsilon: float = 0.0


class Recording(NamedTuple):
    """A chain: numbers of the rows of its inputs and outputs, its layers in order, how many rows there are."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    single: bool
    steps: tuple[Step, ...]
    rows: int


def spans(*indices: np.ndarray) -> list[tuple[Span, ...]]:
    """The longest common runs of several equally long lists of rows, each run with one step, not 0, for each list."""
    flat = np.stack([index.reshape(-1) for index in indices])
    steps = np.diff(flat)
    stands = (steps == 0).any(axis=0).tolist()
    turns = [False, *(np.diff(steps) != 0).any(axis=0).tolist()]
    cuts = [0]
    for i in range(1, flat.shape[1]):
        if stands[i - 1] or (i - cuts[-1] > 1 and turns[i - 1]):
            cuts.append(i)
    return [
        tuple(Span(int(row[a]), int(row[a + 1] - row[a]) if b - a > 1 else 1, b - a) for row in flat)
        for a, b in pairwise([*cuts, flat.shape[1]])
    ]


class _Recorder:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.rows = 0

    def new(self, *shape: int) -> np.ndarray:
        start, self.rows = self.rows, self.rows + int(np.prod(shape))
        return np.arange(start, self.rows).reshape(shape)

    def pointwise(self, kind: str, *operands: Rows) -> Rows:
        shape = operands[0].index.shape
        if any(x.index.shape != shape for x in operands):
            raise NotTokenwise(f"{kind} of different widths {[x.index.shape for x in operands]}")
        result = self.new(*shape)
        for target, *sources in spans(result, *(x.index for x in operands)):
            if any(s.step != 1 for s in (target, *sources)):
                raise NotTokenwise(f"{kind} of channels that do not lie side by side")
            self.steps.append(Step(kind, target, tuple(sources)))
        return Rows(self, result)

    def norm(self, x: Rows, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Rows:
        if tuple(shape) != x.index.shape[-1:]:
            raise NotTokenwise(f"layer norm over {tuple(shape)} of channels {x.index.shape}")
        if not np.float32(epsilon) > 0:  # places of a tile without a token hold zeros, which have no spread
            raise NotTokenwise(f"layer norm with epsilon {epsilon}")
        result = self.new(*x.index.shape)
        for a, b in zip(x.index.reshape(-1, shape[-1]), result.reshape(-1, shape[-1]), strict=True):
            runs = spans(b, a)
            if len(runs) > 1:
                raise NotTokenwise("layer norm over channels that do not lie at equal distances")
            self.steps.append(Step("norm", runs[0][0], runs[0][1:], weight, bias, epsilon))
        return Rows(self, result)

    def linear(self, x: Rows, weight: Tensor, bias: Tensor | None = None) -> Rows:
        if x.index.ndim != 1 or weight.shape[1] != len(x.index):
            raise NotTokenwise(f"linear layer {tuple(weight.shape)} on channels {x.index.shape}")
        result = self.new(weight.shape[0])
        sources = tuple(run[0] for run in spans(x.index))
        self.steps.append(Step("linear", Span(int(result[0]), 1, len(result)), sources, weight, bias))
        return Rows(self, result)


class Rows:
    """Stands for a tensor ``(*tokens, *channels)`` of which only the channels are known."""

    def __init__(self, recorder: _Recorder, index: np.ndarray) -> None:
        self.recorder, self.index = recorder, index

    def _view(self, index: np.ndarray) -> Rows:
        return Rows(self.recorder, index)

    def _axis(self, dim: int) -> int:
        if not -self.index.ndim <= dim < 0:
            raise NotTokenwise(f"axis {dim} is none of the channels' axes, which count from the end")
        return dim

    def split(self, sizes: Sequence[int], dim: int = 0) -> tuple[Rows, ...]:
        cuts = np.cumsum(sizes)[:-1]
        return tuple(self._view(part) for part in np.split(self.index, cuts, axis=self._axis(dim)))

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Rows:
        axis = self.index.ndim + self._axis(dim)
        return self._view(self.index.reshape(*self.index.shape[:axis], *sizes, *self.index.shape[axis + 1 :]))

    def flatten(self, start_dim: int = 0) -> Rows:
        return self._view(self.index.reshape(*self.index.shape[: self._axis(start_dim)], -1))

    def movedim(self, source: int, destination: int) -> Rows:
        return self._view(np.moveaxis(self.index, self._axis(source), self._axis(destination)))

    def __add__(self, other: Any) -> Rows:
        return self._other(other, "add")

    def __mul__(self, other: Any) -> Rows:
        return self._other(other, "multiply")

    def _other(self, other: Any, kind: str) -> Rows:
        if not isinstance(other, Rows):
            raise NotTokenwise(f"{kind} with {type(other).__name__}")
        return self.recorder.pointwise(kind, self, other)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        layer = _LAYERS.get(function)
        if layer is None:
            raise NotTokenwise(
                f"{getattr(function, '__name__', function)} is no token-wise layer that the kernel knows"
            )
        return layer(*args, **(kwargs or {}))


def _dropout(x: Rows, p: float = 0.5, training: bool = True, inplace: bool = False) -> Rows:
    if training and p > 0:
        raise NotTokenwise("dropout")
    return x


def _silu(x: Rows, inplace: bool = False) -> Rows:
    return x.recorder.pointwise("silu", x)


def _layer_norm(
    x: Rows, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Rows:
    return x.recorder.norm(x, shape, weight, bias, eps)


def _linear(x: Rows, weight: Tensor, bias: Tensor | None = None) -> Rows:
    return x.recorder.linear(x, weight, bias)


def _cat(parts: Sequence[Rows], dim: int = 0) -> Rows:
    return parts[0]._view(np.concatenate([part.index for part in parts], axis=parts[0]._axis(dim)))


_LAYERS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.dropout: _dropout,
    F.layer_norm: _layer_norm,
    F.linear: _linear,
    F.silu: _silu,
    torch.cat: _cat,
}


def record(chain: Callable[..., Any], channels: Sequence[tuple[int, ...]]) -> Recording:
    """Run a chain on rows.

    Args:
        chain: takes and returns tensors ``(*tokens, *channels)``.
        channels: the channels' axes of each input.

    Raises:
        NotTokenwise: the chain holds a layer, or a use of one, that the kernel does not know.
    """
    recorder = _Recorder()
    inputs = [Rows(recorder, recorder.new(*shape)) for shape in channels]
    result = chain(*inputs)
    outputs = (result,) if isinstance(result, Rows) else tuple(result)
    if not all(isinstance(x, Rows) for x in outputs):
        raise NotTokenwise("a chain returns what it computed from its inputs")
    taken = np.concatenate([x.index.reshape(-1) for x in outputs])
    if len(np.unique(taken)) < len(taken) or (taken < sum(x.index.size for x in inputs)).any():
        raise NotTokenwise("an output is an input, or another output")
    return Recording(
        tuple(x.index for x in inputs),
        tuple(x.index for x in outputs),
        isinstance(result, Rows),
        tuple(recorder.steps),
        recorder.rows,
    )
