"""Gradients that have no gradient of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

__all__ = ["first_order"]


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For the ``backward`` of a fused ``torch.autograd.Function``: refuses to be differentiated once more.

    ``once_differentiable`` of PyTorch passes over ``create_graph=True`` when the incoming gradient is a constant, as
    that of a sum is: a gradient penalty would silently have no effect. Gradients arrive as numbers in memory, none of
    them with PyTorch's mark that its sign is to be turned.

    Raises:
        RuntimeError: PyTorch records the backward pass (``create_graph=True``).
    """

    @wraps(backward)
    def checked(ctx: Any, *gradients: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the gradient of a fused operator of medssm_monai was asked for with create_graph=True, but it has no "
                "gradient of its own; run the network inside medssm_monai.ops.use_backend('blocked') for that"
            )
        return backward(ctx, *(g if g is None else g.resolve_neg() for g in gradients))

    return checked
