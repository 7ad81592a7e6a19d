"""The two configs of a FLARE job: every component is FLARE's, MONAI's or ``monai-nvflare``'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BEYOND_DEFAULT", "NETWORK", "START", "TASK", "client_config", "server_config"]

EXECUTOR = "monai_nvflare.client_algo_executor.ClientAlgoExecutor"
PERSISTOR = "monai_nvflare.monai_bundle_persistor.MonaiBundlePersistor"
ALGORITHM = "monai.fl.client.MonaiAlgo"
BEYOND_DEFAULT = (ALGORITHM, EXECUTOR, PERSISTOR)
"""Components of a job that FLARE's default list of allowed classes does not have."""
START, NETWORK = "start.pt", "network.json"
"""Files of a job beside the bundle: the first weights, with their settings in ``start.json``, and the network."""
TASK = "train"


def server_config(bundle: str, rounds: int, min_clients: int, wait: int) -> dict[str, Any]:
    """``config_fed_server.json``: rounds of federated averaging, weighted by the steps that a site has trained.

    Args:
        bundle: name of the bundle's folder in the application.
        rounds: how many.
        min_clients: sites that must answer in a round.
        wait: seconds that a round waits for the others then; those known to be gone are not waited for.
    """
    workflow = {
        "min_clients": min_clients,
        "num_rounds": rounds,
        "wait_time_after_min_received": wait,
        "train_timeout": 0,
        "train_task_name": TASK,
        "aggregator_id": "aggregator",
        "persistor_id": "persistor",
        "shareable_generator_id": "generator",
    }
    common = "nvflare.app_common"
    # the network and the first weights lie beside the bundle, whose own configs the server does not execute
    persistor = {
        "bundle_root": bundle,
        "config_train_filename": f"../{NETWORK}",
        "source_ckpt_filename": f"../{START}",
    }
    components = [
        ("persistor", PERSISTOR, persistor),
        ("generator", f"{common}.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator", {}),
        (
            "aggregator",
            f"{common}.aggregators.intime_accumulate_model_aggregator.InTimeAccumulateWeightedAggregator",
            {"expected_data_kind": "WEIGHTS"},
        ),
        ("selector", f"{common}.widgets.intime_model_selector.IntimeModelSelector", {}),
    ]
    return {
        "format_version": 2,
        "workflows": [
            {
                "id": "rounds",
                "path": f"{common}.workflows.scatter_and_gather.ScatterAndGather",
                "args": workflow,
            }
        ],
        "components": [{"id": name, "path": path, "args": arguments} for name, path, arguments in components],
    }


def client_config(
    bundle: str,
    overlays: Sequence[str],
    local_epochs: int,
    key_metric: str,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> dict[str, Any]:
    """``config_fed_client.json``: MONAI's client with the bundle's own training and evaluation configs.

    Args:
        bundle: name of the bundle's folder in the application.
        overlays: file names in its ``configs`` between ``train.yaml`` and ``evaluate.yaml``.
        local_epochs: epochs of a site in a round.
        key_metric: figure of the evaluation that a site sends along, of the global model on its validation part.
        training: overrides of the training; FLARE fills in ``{SITE_NAME}``, ``{WORKSPACE}`` and the like.
        evaluation: overrides of the evaluation.
    """
    trained = [f"configs/{name}" for name in ("train.yaml", *overlays)]
    algorithm = {
        "bundle_root": bundle,
        "local_epochs": local_epochs,
        "send_weight_diff": False,
        "config_train_filename": trained,
        "train_kwargs": dict(training),
        "config_evaluate_filename": [*trained, "configs/evaluate.yaml"],
        "eval_kwargs": dict(evaluation),
    }
    executor = {"path": EXECUTOR, "args": {"client_algo_id": "algorithm", "key_metric": key_metric}}
    return {
        "format_version": 2,
        "executors": [{"tasks": [TASK], "executor": executor}],
        "task_result_filters": [],
        "task_data_filters": [],
        "components": [{"id": "algorithm", "path": ALGORITHM, "args": algorithm}],
    }
