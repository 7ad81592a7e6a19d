"""Time of one image in each runtime, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["latencies", "one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def latencies(runners: Mapping[str, Callable[[Tensor], Tensor]], image: Tensor, repeats: int = 7) -> dict[str, float]:
    """Median seconds of each runner on ``image``; in each round every runner runs once, so that what else the machine
    does falls on all of them. One round before counts for nothing."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    with torch.no_grad():
        for round_ in range(repeats + 1):
            for name, run in runners.items():
                start = time.perf_counter()
                run(image)
                if round_:
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
