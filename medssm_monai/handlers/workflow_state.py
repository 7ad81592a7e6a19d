"""The state of MONAI's engines, which holds more than Ignite declares."""

from __future__ import annotations

from typing import Any, cast

import torch
from ignite.engine import Engine, State

__all__ = ["WorkflowState", "workflow_state"]


class WorkflowState(State):
    """What MONAI's trainers and evaluators set, with the types that it has while they run."""

    device: torch.device
    output: Any
    epoch_length: int
    max_epochs: int
    key_metric_name: str | None
    best_metric: float
    best_metric_epoch: int


def workflow_state(engine: Engine) -> WorkflowState:
    """``engine.state`` of a MONAI trainer or evaluator."""
    return cast(WorkflowState, engine.state)
