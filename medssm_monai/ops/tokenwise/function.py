"""Token-wise chains on tensors: by the fused kernel where it can, by PyTorch where it must."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules import module as module_state

from ..arguments import plain
from ..first_order import first_order
from ..selection import runs_native
from .joined_axes import joined_axis, joined_order
from .recording import record

__all__ = ["is_hooked", "tokenwise"]

_log = logging.getLogger(__name__)
Chain = Callable[..., Any]
_GLOBAL_HOOKS = (
    *(module_state._global_forward_hooks, module_state._global_forward_pre_hooks),
    *(module_state._global_backward_hooks, module_state._global_backward_pre_hooks),
)


class _Place(NamedTuple):
    """A parameter: the dictionary that it stands in and its name there, its shape, and where else it stands."""

    owner: dict[str, Any]
    name: str
    shape: torch.Size
    others: tuple[tuple[dict[str, Any], str], ...]


class _Fused(NamedTuple):
    """A chain that the kernel runs: its plan, and where its parameters stand."""

    plan: Any
    places: tuple[_Place, ...]

    def parameters(self) -> list[Tensor] | None:
        """The parameters as they are now; None if one is no longer such as it was when the chain was read."""
        found: list[Tensor] = []
        for owner, name, shape, others in self.places:
            x: Any = owner.get(name)
            # a condition in one piece: a network asks some hundred parameters on its way
            if (type(x) is not Parameter and type(x) is not Tensor) or (
                x.dtype is not torch.float32
                or not x.is_cpu
                or x.shape != shape
                or not x.is_contiguous()
                or x.is_neg()
                or (others and any([other.get(its_name) is not x for other, its_name in others]))
            ):
                return None
            found.append(x)
        return found


class _Known(NamedTuple):
    """A chain that was read: the modules that it may call, and what came of it.

    ``modes`` and ``children``: what decides, beside the parameters, what these modules do.
    """

    modules: tuple[nn.Module, ...]
    modes: list[tuple[Any, ...]]
    children: tuple[tuple[dict[str, Any], tuple[Any, ...]], ...]
    fused: _Fused | None

    def still_holds(self) -> bool:
        """Whether no module was added, taken away, exchanged or set otherwise."""
        return [_mode(m.__dict__.get) for m in self.modules] == self.modes and all(
            [tuple(children.items()) == before for children, before in self.children]
        )


_known: weakref.WeakKeyDictionary[nn.Module, dict[Any, _Known]] = weakref.WeakKeyDictionary()


def tokenwise(
    chain: Chain, *inputs: Tensor, memory: Sequence[Sequence[int] | None] | None = None, spatial_dims: int = 2
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
        inputs: ``(B, H, W, *channels)`` each, of any strides; ``(B, X, Y, Z, *channels)`` for 3 spatial axes.
        memory: for every output the order in which its axes lie in memory, slowest first (``(0, 3, 1, 2)``: channel
            first); None: as they are. Only the fused operator heeds it, values do not change.
        spatial_dims: 2 or 3.

    Returns:
        What the chain returns: a tensor or several, with the axes of the inputs before their channels.
    """
    if spatial_dims == 3:
        return _of_volumes(chain, inputs, memory)
    tensors = [plain(x) for x in inputs]
    ready = _ready(chain, tensors, memory) if runs_native(*tensors) and _are_maps(tensors) else None
    if ready is None:
        return chain(*inputs)
    outputs = _run(*ready, tensors)
    return outputs[0] if ready[0].recording.single else tuple(outputs)


def _run(plan: Any, parameters: list[Tensor], tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    if torch.is_grad_enabled() and (_wants_gradient(tensors) or _wants_gradient(parameters)):
        outputs: Sequence[Tensor] = _Chain.apply(plan, len(tensors), *tensors, *parameters)
    else:
        outputs = plan.forward(tensors, parameters)
    return outputs


def _of_volumes(chain: Chain, inputs: Sequence[Tensor], memory: Sequence[Sequence[int] | None] | None) -> Any:
    """:func:`tokenwise` of volumes: for the fused operator two of their axes count as one."""
    tensors = [plain(x) for x in inputs]
    if not runs_native(*tensors) or any([x.ndim < 5 for x in tensors]):
        return chain(*inputs)
    axis = joined_axis([(x.shape, x.stride()) for x in tensors], memory)
    sizes = tensors[0].shape[axis : axis + 2]
    flat = [x.flatten(axis, axis + 1) for x in tensors]
    orders = None if memory is None else [None if order is None else joined_order(order, axis) for order in memory]
    ready = _ready(chain, flat, orders, axis) if _are_maps(flat) else None
    if ready is None:
        return chain(*inputs)
    outputs = [y.unflatten(axis, sizes) for y in _run(*ready, flat)]
    return outputs[0] if ready[0].recording.single else tuple(outputs)


def _are_maps(tensors: Sequence[Tensor]) -> bool:
    """Whether all are ``(B, H, W, *channels)`` with one lead."""
    lead = tensors[0].shape[:3]
    return all([x.ndim >= 4 and x.shape[:3] == lead for x in tensors])


def _wants_gradient(tensors: Sequence[Tensor]) -> bool:
    return any([x.requires_grad for x in tensors])


def _ready(
    chain: Chain, tensors: Sequence[Tensor], memory: Any, joined: int | None = None
) -> tuple[Any, list[Tensor]] | None:
    """Plan and parameters of a chain; None where its modules have to run one by one.

    ``joined``: which axis of a volume was joined with the next; ``memory`` depends on it.
    """
    module = chain.__self__  # type: ignore[attr-defined]
    for hooks in _GLOBAL_HOOKS:
        if hooks:
            return None
    chains = _known.get(module)
    if chains is None:
        chains = _known.setdefault(module, {})
    key = (chain.__name__, joined, *[x.shape[3:] for x in tensors])
    known = chains.get(key)
    parameters = None
    if known is not None and known.still_holds():
        parameters = [] if known.fused is None else known.fused.parameters()
    if known is None or parameters is None:
        if any(is_hooked(m) for m in module.modules() if m is not module):
            return None
        fused = _read(chain, module, tensors, memory)
        called = _may_be_called(module, fused)
        known = _Known(tuple(called), [_mode(m.__dict__.get) for m in called], _children(module, called), fused)
        chains[key] = known
        parameters = None if fused is None else fused.parameters()
    if known.fused is None or parameters is None or any([is_hooked(m) for m in known.modules]):
        return None
    return known.fused.plan, parameters


def is_hooked(m: nn.Module) -> bool:
    """Whether a call of the module runs more than its ``forward``."""
    return bool(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks)


def _mode(own: Callable[[str], Any]) -> tuple[Any, ...]:
    """Training or not, how much dropout drops, a norm's epsilon, and a ``forward`` put on the instance."""
    return own("training"), own("p"), own("eps"), own("forward")


def _children(top: nn.Module, called: Sequence[nn.Module]) -> tuple[tuple[dict[str, Any], tuple[Any, ...]], ...]:
    """The children of ``top`` and of all modules on the way to those that were called."""
    parents = [m for m in top.modules() if m._modules and any(below in called for below in m.modules())]
    return tuple((m._modules, tuple(m._modules.items())) for m in parents)


def _may_be_called(top: nn.Module, fused: _Fused | None) -> list[nn.Module]:
    """The modules below ``top`` whose parameters the chain uses, and all that have none; all, if it is not fused."""
    used: set[int] = set()
    for place in () if fused is None else fused.places:
        used |= {id(place.owner), *(id(owner) for owner, _ in place.others)}
    below = [m for m in top.modules() if m is not top]
    return [m for m in below if fused is None or id(m._parameters) in used or not m._parameters]


def _read(chain: Chain, module: nn.Module, tensors: Sequence[Tensor], memory: Any) -> _Fused | None:
    from .launch import Plan

    try:
        recording = record(chain, [tuple(x.shape[3:]) for x in tensors])
    except Exception as reason:  # whatever code that expects tensors makes of placeholders: it runs on tensors then
        _log.debug("%s.%s runs layer by layer: %s", type(module).__name__, chain.__name__, reason)
        return None
    places: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for m in module.modules():
        for name, x in m._parameters.items():
            places.setdefault(id(x), []).append((m._parameters, name))
    used = [x for step in recording.steps for x in (step.weight, step.bias) if x is not None]
    parameters = list({id(x): x for x in used}.values())
    whole = [_whole(x) for x in parameters]
    if any(id(x) not in places for x in whole):
        return None
    plan = Plan(recording, parameters, [x.shape for x in whole], memory or [None] * len(recording.outputs))
    fused = _Fused(plan, tuple(_Place(*places[id(x)][0], x.shape, tuple(places[id(x)][1:])) for x in whole))
    return None if fused.parameters() is None else fused


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
        saved = ctx.saved_tensors  # asked for once: activation checkpoints compute them anew when asked
        inputs, parameters = saved[: ctx.count], saved[ctx.count :]
        results, weights = ctx.plan.backward(inputs, gradients, parameters)
        wanted = ctx.needs_input_grad[2:]
        return None, None, *(x if want else None for x, want in zip((*results, *weights), wanted, strict=True))
