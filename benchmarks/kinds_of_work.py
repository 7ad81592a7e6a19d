"""Which kind of work an operator does, by its name in PyTorch's profiler: the one table of all profiles."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["DISPATCH", "KINDS", "kind_of", "milliseconds_by_kind"]

DISPATCH = "dispatch"
"""What a call takes beyond its working operators: Python, autograd, views, memory given and taken back."""

_TABLE = (
    ("scan", r"medssm.*scan"),
    ("fused token-wise", r"medssm"),
    (  # those that only call others, first: their own time is no work
        DISPATCH,
        r"aten::(conv\dd|conv_transpose\dd|_?convolution|layer_norm|batch_norm|_batch_norm_impl_index\w*|group_norm"
        r"|instance_norm|linear|matmul|einsum|scaled_dot_product_attention|fft_\w+|adaptive_\w+|max_pool\dd|pad|stack"
        r"|clone|to|_to_copy|contiguous|flip|view.*|_unsafe_view|_?reshape\w*|permute|\w*transpose|t|expand\w*|slice"
        r"|select|narrow|as_strided|unsqueeze|squeeze|split\w*|chunk|unbind|unflatten|flatten|movedim|alias|detach_?"
        r"|empty\w*|new_\w+|zeros\w*|ones\w*|full\w*|resize\w*|resolve_\w+|result_type|item|_local_scalar_dense|unfold"
        r"|lift_fresh|broadcast_\w+|real|imag|_?conj|size|is_\w+|set_|dropout|mse_loss|softmax|silu_|upsample_\w+\.vec)$",
    ),
    ("convolution", r"aten::.*conv|aten::(im2col|col2im)$"),
    ("normalization", r"aten::.*(layer|batch|group|instance)_norm"),
    ("products", r"aten::(\w*mm|\w*mv|v?dot|_addmm_activation|mkldnn_linear\w*|_scaled_dot_product_\w+)_?$"),
    ("FFT", r"aten::_fft"),
    (
        "copies",
        r"aten::(copy_|cat|fill_|zero_|roll|repeat\w*|_?index\w*|gather\w*|scatter\w*|slice_backward|select_backward"
        r"|unfold_backward|\w*_pad\w*|pixel_(un)?shuffle|\w+_copy|\w*embedding\w*)$",
    ),
    ("pooling, resampling", r"aten::.*(pool|upsample|grid_sampler)"),
    ("pointwise, sums", r"aten::"),
    (DISPATCH, r""),  # autograd's own nodes, the profiler's
)
"""Kind and a pattern for the beginning of the name; the first that fits holds."""

_PATTERNS = [(kind, re.compile(pattern)) for kind, pattern in _TABLE]
KINDS = tuple(dict.fromkeys([kind for kind, _ in _TABLE if kind != DISPATCH] + [DISPATCH]))


def kind_of(operator: str) -> str:
    """The kind of work of an operator.

    Example:
        >>> kind_of("aten::addmm"), kind_of("aten::permute"), kind_of("medssm::native_scan_backward")
        ('products', 'dispatch', 'scan')
    """
    return next(kind for kind, pattern in _PATTERNS if pattern.match(operator))


def milliseconds_by_kind(events: Iterable[Any]) -> dict[str, float]:
    """Own time of the operators of a profile (``profiler.key_averages()``) by kind, on the CPU or on the GPU.

    An operator's own time is without that of the operators which it calls, so that nothing counts twice.
    """
    times = dict.fromkeys(KINDS, 0.0)
    for event in events:
        times[kind_of(event.key)] += (event.self_cpu_time_total + event.self_device_time_total) / 1e3
    return times
