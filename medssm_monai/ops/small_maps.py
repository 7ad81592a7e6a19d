"""Convolutions of small maps in bfloat16 on the CPU, which PyTorch gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["SmallMapsInFloat32"]

STRIDE = 3
DILATION = {torch.conv2d: 5, torch.conv3d: 5, torch.conv_transpose2d: 7, torch.conv_transpose3d: 7}
"""Places of these among the arguments of the convolutions."""


class SmallMapsInFloat32(TorchFunctionMode):
    """Within it, convolutions in bfloat16 on the CPU are computed in float32 where an axis of a map is shorter than the
    filter and its stride together; their results have the format that they would have had.

    With oneDNN 3.12 (torch 2.13) on processors with AVX512-BF16 or AMX, convolutions and transposed convolutions in
    bfloat16 are wrong there, whatever their groups and order in memory. In 3D the gradient of the weights reads memory
    that nothing wrote where an axis is shorter than the filter: arbitrary numbers, or the process ends. In 2D and 3D
    the result may be wrong where a stride leaves one place of an axis
    (https://github.com/pytorch/pytorch/issues/169688). Larger maps and signals are right, and so is float32 (but for
    transposed convolutions with a stride and filters of 7, which nothing here has).

    Example:
        >>> layer, volume = torch.nn.Conv3d(16, 16, 3, padding=1), torch.rand(1, 16, 2, 2, 2)
        >>> with torch.autocast("cpu", torch.bfloat16), SmallMapsInFloat32():
        ...     layer(volume).dtype
        torch.bfloat16
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call an operator, with other arguments where it is such a convolution."""
        kwargs = kwargs or {}
        if func not in DILATION or not _is_concerned(func, args, kwargs):
            return func(*args, **kwargs)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            exact = [a.float() if isinstance(a, Tensor) else a for a in args]
            result: Tensor = func(*exact, **{k: v.float() if isinstance(v, Tensor) else v for k, v in kwargs.items()})
        return result.to(dtype)


def _is_concerned(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    def given(name: str, place: int, default: Any = None) -> Any:
        return args[place] if len(args) > place else kwargs.get(name, default)

    x, weight = given("input", 0), given("weight", 1)
    axes = weight.ndim - 2

    def by_axis(value: int | Sequence[int]) -> tuple[int, ...]:
        return (value,) * axes if isinstance(value, int) else tuple(value) * (axes // len(value))

    if x.device.type != "cpu" or not (x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")):
        return False
    strides, dilations = by_axis(given("stride", STRIDE, 1)), by_axis(given("dilation", DILATION[func], 1))
    places = zip(x.shape[-axes:], weight.shape[2:], strides, dilations, strict=True)
    return any(size < dilation * (side - 1) + 1 + stride for size, side, stride, dilation in places)
