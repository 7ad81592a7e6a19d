"""Token-wise chains on tensors: by the fused kernel where it can, by PyTorch where it must."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..arguments import plain
from ..selection import native_is_wanted
from ..tracing import is_eager
from .recording import NotTokenwise, record

__all__ = ["tokenwise"]

Chain = Callable[..., Any]


class _Prepared(NamedTuple):
    """What is kept of a chain: its plan, where its parameters are, modules that must have no hooks, their modes."""

    plan: Any
    owners: tuple[tuple[dict[str, Any], str], ...]
    modules: tuple[nn.Module, ...]
    training: tuple[bool, ...]


_prepared: weakref.WeakKeyDictionary[nn.Module, dict[Any, _Prepared | None]] = weakref.WeakKeyDictionary()


def tokenwise(
    chain: Chain, *inputs: Tensor, memory: Sequence[Sequence[int] | None] | None = None
) -> Any:
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
    prepared = _prepare(chain, tensors, memory) if _can_fuse(tensors) else None
    if prepared is None:
        return chain(*inputs)
    parameters = [owner[name] for owner, name in prepared.owners]
    if torch.is_grad_enabled() and any(x.requires_grad for x in (*tensors, *parameters)):
        outputs = _Chain.apply(prepared.plan, len(tensors), *tensors, *parameters)
    else:
        outputs = prepared.plan.forward(tensors, parameters)
    return outputs[0] if prepared.plan.recording.single else tuple(outputs)


def _can_fuse(tensors: Sequence[Tensor]) -> bool:
    return (
        native_is_wanted()
        and is_eager(*tensors)
        and all(x.dtype is torch.float32 and x.device.type == "cpu" and x.ndim >= 4 and x.numel() for x in tensors)
        and not torch.is_autocast_enabled("cpu")
    )


def _prepare(chain: Chain, tensors: Sequence[Tensor], memory: Any) -> _Prepared | None:
    module = chain.__self__  # type: ignore[attr-defined]
    known = _prepared.setdefault(module, {})
    key = (chain.__name__, *(x.shape[3:] for x in tensors))
    found = known.get(key)
    if found is None or not _still_true(found):
        if key in known and found is None:
            return None
        found = known[key] = _make(chain, module, tensors, memory)
    if found is not None and any(_hooked(m) for m in found.modules):
        return None
    return found


def _still_true(prepared: _Prepared) -> bool:
    return prepared.training == tuple(m.training for m in prepared.modules) and all(
        name in owner for owner, name in prepared.owners
    )


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _make(chain: Chain, module: nn.Module, tensors: Sequence[Tensor], memory: Any) -> _Prepared | None:
    from .launch import Plan

    try:
        recording = record(chain, [tuple(x.shape[3:]) for x in tensors])
    except NotTokenwise:
        return None
    places = {id(x): (m._parameters, name) for m in module.modules() for name, x in m._parameters.items()}
    used = [x for step in recording.steps for x in (step.weight, step.bias) if x is not None]
    parameters = list({id(x): x for x in used}.values())
    whole = [_whole(x) for x in parameters]
    if any(id(x) not in places or x.dtype is not torch.float32 or not x.is_contiguous() for x in whole):
        return None
    modules = tuple(m for m in module.modules() if m is not module)
    plan = Plan(recording, parameters, memory or [None] * len(recording.outputs))
    return _Prepared(
        plan, tuple(places[id(x)] for x in whole), modules, tuple(m.training for m in modules)
    )


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
