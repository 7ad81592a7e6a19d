"""Token-wise chains on tensors: by the fused kernel where it can, by PyTorch where it must."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..arguments import plain
from ..selection import runs_native
from .recording import NotTokenwise, record

__all__ = ["tokenwise"]

_log = logging.getLogger(__name__)
Chain = Callable[..., Any]


class _Fused(NamedTuple):
    """A chain that the kernel runs: its plan, where its parameters stand, and their shapes when it was read."""

    plan: Any
    owners: tuple[tuple[dict[str, Any], str], ...]
    shapes: tuple[torch.Size, ...]


class _Known(NamedTuple):
    """A chain that was read: the modules below its own, their modes at that time, and what came of it."""

    modules: tuple[nn.Module, ...]
    modes: tuple[bool, ...]
    fused: _Fused | None


_known: weakref.WeakKeyDictionary[nn.Module, dict[Any, _Known]] = weakref.WeakKeyDictionary()


def tokenwise(chain: Chain, *inputs: Tensor, memory: Sequence[Sequence[int] | None] | None = None) -> Any:
    """Run a chain of layers that treat every token alike.

    ``tokenwise(module.method, x)`` gives what ``module.method(x)`` gives. On the CPU, in float32, the chain runs as one
    fused operator with a fused gradient: a tile of tokens at a time goes through all layers in fast memory, and nothing
    in between is kept for the backward pass. Elsewhere (other devices and dtypes, autocast, exporters, forward hooks on
    the layers, layers that the kernel does not know) the method itself runs.

    Args:
        chain: bound method of a module. Its layers: ``LayerNorm``, ``Linear``, ``silu``, ``+``, ``*`` and inactive
            dropout, with ``split``, ``cat``, ``unflatten``, ``flatten``, ``movedim`` over the channels' axes, counted
            from the end. Parameters are those of the module.
        inputs: ``(B, H, W, *channels)`` each, of any strides.
        memory: for every output the order in which its axes lie in memory, slowest first (``(0, 3, 1, 2)``: channel
            first); None: as they are. Only the fused operator heeds it, values do not change.

    Returns:
        What the chain returns: a tensor or several, ``(B, H, W, *channels)``.
    """
    tensors = [plain(x) for x in inputs]
    fused = _fused(chain, tensors, memory) if runs_native(*tensors) and all(x.ndim >= 4 for x in tensors) else None
    if fused is None:
        return chain(*inputs)
    plan, parameters = fused.plan, _parameters(fused)
    if torch.is_grad_enabled() and any(x.requires_grad for x in (*tensors, *parameters)):
        outputs = _Chain.apply(plan, len(tensors), *tensors, *parameters)
    else:
        outputs = plan.forward(tensors, parameters)
    return outputs[0] if plan.recording.single else tuple(outputs)


def _fused(chain: Chain, tensors: Sequence[Tensor], memory: Any) -> _Fused | None:
    module = chain.__self__  # type: ignore[attr-defined]
    chains = _known.setdefault(module, {})
    key = (chain.__name__, *(x.shape[3:] for x in tensors))
    known = chains.get(key)
    if known is None or known.modes != tuple([m.training for m in known.modules]) or not _is_current(known.fused):
        below = tuple(m for m in module.modules() if m is not module)
        known = _Known(below, tuple(m.training for m in below), _read(chain, module, tensors, memory))
        chains[key] = known
    return None if any(_is_hooked(m) for m in known.modules) else known.fused


def _is_current(fused: _Fused | None) -> bool:
    """Whether the parameters are still such as they were."""
    return fused is None or all(
        isinstance(x, Tensor) and x.shape == shape and x.dtype is torch.float32 and x.is_contiguous()
        for x, shape in zip(_parameters(fused), fused.shapes, strict=True)
    )


def _parameters(fused: _Fused) -> list[Any]:
    return [owner.get(name) for owner, name in fused.owners]


def _is_hooked(m: nn.Module) -> bool:
    return bool(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks)


def _read(chain: Chain, module: nn.Module, tensors: Sequence[Tensor], memory: Any) -> _Fused | None:
    from .launch import Plan

    try:
        recording = record(chain, [tuple(x.shape[3:]) for x in tensors])
    except NotTokenwise as reason:
        _log.debug("%s.%s runs layer by layer: %s", type(module).__name__, chain.__name__, reason)
        return None
    places = {id(x): (m._parameters, name) for m in module.modules() for name, x in m._parameters.items()}
    used = [x for step in recording.steps for x in (step.weight, step.bias) if x is not None]
    parameters = list({id(x): x for x in used}.values())
    whole = [_whole(x) for x in parameters]
    if any(id(x) not in places for x in whole):
        return None
    fused = _Fused(
        Plan(recording, parameters, memory or [None] * len(recording.outputs)),
        tuple(places[id(x)] for x in whole),
        tuple(x.shape for x in whole),
    )
    return fused if _is_current(fused) else None


def _whole(x: Tensor) -> Tensor:
    """The parameter that ``x`` is, or is another shape of."""
    base = x._base
    return base if base is not None and base.numel() == x.numel() and x.is_contiguous() else x


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.plan, ctx.count = plan, count
        ctx.save_for_backward(*tensors)
        return tuple(plan.forward(tensors[:count], tensors[count:]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        inputs, parameters = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        results, flat = ctx.plan.backward(inputs, gradients, parameters)
        weights = [x.view(parameter.shape) for x, parameter in zip(flat, parameters, strict=True)]
        wanted = ctx.needs_input_grad[2:]
        return None, None, *(x if want else None for x, want in zip((*results, *weights), wanted, strict=True))
