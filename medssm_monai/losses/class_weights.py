"""Class weights of a loss, as a run's settings name them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["class_weight_tensor"]

BALANCED = "balanced"


def class_weight_tensor(
    choice: bool | str | Sequence[float] | None,
    balanced: Sequence[float],
    device: torch.device | str | None = None,
) -> torch.Tensor | None:
    """Weights ``(num_classes,)`` for ``torch.nn.CrossEntropyLoss``.

    Args:
        choice: ``False`` or None for no weights, ``"balanced"``, or one positive number per class in label order.
        balanced: what ``"balanced"`` stands for, for example
            ``ClassificationDatalists.class_weights()``; its length is the number of classes.
        device: where the loss is computed.

    Returns:
        float32 tensor, or None without weights.

    Raises:
        ValueError: another word, another number of weights than classes, or a weight that is not positive.

    Example:
        >>> class_weight_tensor("balanced", [2.0, 0.5])
        tensor([2.0000, 0.5000])
    """
    if choice is None or choice is False:
        return None
    if choice is True or (isinstance(choice, str) and choice != BALANCED):
        raise ValueError(f"class_weights must be false, {BALANCED!r} or one number per class, got {choice!r}.")
    weights = torch.tensor(list(balanced if choice == BALANCED else choice), dtype=torch.float32, device=device)
    if len(weights) != len(balanced) or not (weights > 0).all():
        raise ValueError(f"class_weights needs {len(balanced)} positive numbers, one per class, got {choice}.")
    return weights
