"""Trains every bundle for one step and writes down what came of it: started by ``test_torchrun.py``, alone and by
``torchrun``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from monai.engines import IterationEvents

from medssm_monai.bundle import build_network
from tests.bundles.bundle_runs import BUNDLES, Bundle

COUNTS = {"mamba_mis": [4, 5, 4], "medconvmamba": [4, 5, 4], "medspectralnet": [4, 5, 4], "clinical_fmamba": [4, 1, 4]}
"""Demo images: one batch to train with; a validation part that does not divide by two, and one of a single image."""
OPTIONS = {"medspectralnet": {"cutmix": 1.0}}


def double_network(**arguments: Any) -> torch.nn.Module:
    """The bundle's network with double precision inside, single precision outside."""
    network = build_network(**arguments).double()
    network.register_forward_pre_hook(lambda _, images: tuple(torch.as_tensor(image).double() for image in images))
    network.register_forward_hook(lambda _, images, output: output.float())
    return network


def train(bundle: Bundle, out: Path, distributed: bool) -> None:
    """One step with the bundle's optimizer, the network in double precision, so that rounding tells nothing apart."""
    rank = int(os.environ.get("RANK", "0"))
    files = ("train.yaml", *(("multi_gpu_train.yaml",) if distributed else ()))
    options = {
        **bundle.tiny,
        "network_def#_target_": "tests.integration.torchrun_step.double_network",
        "datalists#demo_counts": COUNTS[bundle.name],
        **OPTIONS.get(bundle.name, {}),
    }
    flow = bundle.workflow(files, out / bundle.name, run_name="run", fingerprint_data=False, ema_decay=0, **options)
    network = flow.parser.get_parsed_content("network_def")
    trainer = flow.parser.get_parsed_content("train#trainer")
    losses: list[float] = []
    trainer.add_event_handler(
        IterationEvents.LOSS_COMPLETED, lambda e: losses.append(float(e.state.output["loss"].detach()))
    )
    flow.run()
    evaluator = flow.parser.get_parsed_content("validate#evaluator")
    made: dict[str, Any] = {"weights": network.state_dict(), "losses": losses, "metrics": dict(evaluator.state.metrics)}
    torch.save(made, out / bundle.name / f"rank{rank}.pt")
    flow.finalize()


if __name__ == "__main__":
    torch.set_num_threads(1)
    several = "RANK" in os.environ
    for number, one in enumerate(BUNDLES):
        if several:  # a store of its own for each: what an earlier group has left in the agent's would be read again
            os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
            os.environ["MASTER_PORT"] = sys.argv[2 + number]
        train(one, Path(sys.argv[1]), several)
