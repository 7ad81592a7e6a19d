"""Token-wise chains on tensors: by the fused kernel where it can, by PyTorch where it must."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ..arguments import plain
from ..first_order import first_order
from ..selection import runs_native
from .recording import NotTokenwise, Rows, record

__all__ = ["tokenwise"]

_log = logging.getLogger(__name__)
Chain = Callable[..., Any]


class _Fused(NamedTuple):
    """A chain that the kernel runs: its plan, where its parameters stand, and their shapes when it was read."""

    plan: Any
    owners: tuple[tuple[dict[str, Any], str], ...]
    shapes: tuple[torch.Size, ...]


class _Known(NamedTuple):
    """A chain that was read: the modules that it called, their modes at that time, and what came of it.

    ``links``: in which dictionary, and by what name, each module on the way to these stood.
    """

    modules: tuple[nn.Module, ...]
    links: tuple[tuple[dict[str, Any], str, nn.Module], ...]
    modes: list[Any]
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
    if known is None or not _stand(known) or known.modes != _modes(known.modules) or not _is_current(known.fused):
        called: list[nn.Module] = []
        fused = _read(chain, module, tensors, memory, called)
        known = _Known(tuple(called), _links(module, called), _modes(called), fused)
        chains[key] = known
    if known.fused is None:
        return None
    for m in known.modules:
        if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks:
            return None
    return known.fused


def _links(top: nn.Module, called: Sequence[nn.Module]) -> tuple[tuple[dict[str, Any], str, nn.Module], ...]:
    found = []
    for parent in top.modules():
        for name, child in parent._modules.items():
            if child is not None and any(m in called for m in child.modules()):
                found.append((parent._modules, name, child))
    return tuple(found)


def _stand(known: _Known) -> bool:
    """Whether no module was exchanged for another."""
    return all([children.get(name) is child for children, name, child in known.links])


def _modes(modules: Sequence[nn.Module]) -> list[Any]:
    """What decides, beside the parameters, what a layer does: training or not, and how much dropout drops."""
    return [(m.training, m.__dict__.get("p")) for m in modules]


def _is_current(fused: _Fused | None) -> bool:
    """Whether the parameters are still such as they were."""
    return fused is None or all(
        isinstance(x, Tensor) and x.shape == shape and x.dtype is torch.float32 and x.is_contiguous()
        for x, shape in zip(_parameters(fused), fused.shapes, strict=True)
    )


def _parameters(fused: _Fused) -> list[Any]:
    return [owner.get(name) for owner, name in fused.owners]


def _read(
    chain: Chain, module: nn.Module, tensors: Sequence[Tensor], memory: Any, called: list[nn.Module]
) -> _Fused | None:
    """Record a chain; lists the modules that it calls, as far as it comes."""
    from .launch import Plan

    def note(m: nn.Module, inputs: Any) -> None:
        if m not in called and any(isinstance(x, Rows) for x in inputs):
            called.append(m)

    handle = register_module_forward_pre_hook(note)
    try:
        recording = record(chain, [tuple(x.shape[3:]) for x in tensors])
    except NotTokenwise as reason:
        _log.debug("%s.%s runs layer by layer: %s", type(module).__name__, chain.__name__, reason)
        return None
    finally:
        handle.remove()
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
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        inputs, parameters = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        results, flat = ctx.plan.backward(inputs, gradients, parameters)
        weights = [x.view(parameter.shape) for x, parameter in zip(flat, parameters, strict=True)]
        wanted = ctx.needs_input_grad[2:]
        return None, None, *(x if want else None for x, want in zip((*results, *weights), wanted, strict=True))
