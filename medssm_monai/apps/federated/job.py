"""A bundle as a job of NVIDIA FLARE."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...bundle.copies import copy_bundle
from ...bundle.find import find_bundle
from ...bundle.settings import settings_file, write_model_settings
from ...data import is_demo
from ...utils.files import writable_folder
from .flare_configs import NETWORK, START, client_config, server_config
from .start import overlay_names, starting_point

__all__ = ["APP", "write_job"]

APP = "app"
"""Folder of a job that FLARE sends to the server and to every site."""
OUTPUT = {"output_dir": "{WORKSPACE}/runs", "ckpt_dir": "{WORKSPACE}/models"}
"""Where a site's own results go: into its FLARE folder, of which nothing is sent."""
MANAGED = {
    **dict.fromkeys(("bundle_root", "output_dir", "ckpt_dir", "run_name", "resume_from"), "FLARE and MONAI's client"),
    **dict.fromkeys(("dataset_dir", "init_from"), "the option of this name"),
    "max_epochs": "the rounds and their epochs",
    "ckpt_path": "the server, which sends the weights",
    "part": "the job: a global model is chosen by the validation parts",
}
"""Keys that a job sets itself, and what decides them."""


def write_job(
    bundle: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    rounds: int = 2,
    local_epochs: int = 1,
    min_clients: int = 1,
    wait: int = 3600,
    dataset_dir: str = "demo",
    overlays: Sequence[str] = (),
    init_from: str | os.PathLike[str] | None = None,
    example_dir: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Write a job: the bundle, unchanged, the first weights, and FLARE's configs; whole or not at all.

    Every site trains ``local_epochs`` epochs a round with the bundle's ``train.yaml``, on the global weights, which it
    has evaluated before on its validation part with the bundle's ``evaluate.yaml``. The learning rate falls over all
    rounds. What leaves a site are the weights, how many steps it has trained, and that one figure. FLARE averages
    the weights by the steps.

    Args:
        bundle: a folder or a name, as :func:`~medssm_monai.bundle.find_bundle` takes it.
        folder: the job's folder, which must not be there yet.
        rounds: rounds of averaging.
        local_epochs: epochs that a site trains in each.
        min_clients: sites that must answer in a round. Fewer end the job; more may drop out and come back.
        wait: seconds that a round waits for the others once so many have answered. FLARE does not wait for those whose
            process is gone.
        dataset_dir: images of a site, or ``"demo"``. FLARE fills in ``{SITE_NAME}`` and ``{WORKSPACE}``, the folder in
            which the site has FLARE.
        overlays: of the bundle, over ``train.yaml``, such as ``volume``.
        init_from: weights that the first round starts from, with their settings beside them.
        example_dir: images such as the sites have, for the classes and channels of a network that starts afresh.
        overrides: keys of the bundle's training config, ``{"learning_rate": 1e-4}``.

    Returns:
        The job's folder.

    Raises:
        FileNotFoundError: no such bundle, overlay or weights.
        FileExistsError: there is something at ``folder``.
        ValueError: numbers that make no federation, keys that are unknown or that a job sets itself, weights without
            settings, or images of sites with nothing that says what their classes and channels are.
    """
    overrides = dict(overrides or {})
    root, target = find_bundle(bundle), Path(os.path.abspath(Path(folder).expanduser()))
    _check(target, overrides, rounds=rounds, local_epochs=local_epochs, min_clients=min_clients, wait=wait)
    if not is_demo(dataset_dir) and init_from is None and example_dir is None:
        raise ValueError(
            f"nothing says which classes and channels the images of {dataset_dir!r} have, and they must not follow "
            "each site's own. Start from weights (init_from), or name a folder of images like them here (example_dir)."
        )
    names = overlay_names(root, overlays)
    like = dataset_dir if example_dir is None and is_demo(dataset_dir) else example_dir or "demo"
    start = starting_point(root, names, overrides, init_from, like)
    site = {**overrides, **OUTPUT, "dataset_dir": dataset_dir}
    training = {**site, **start.training, "max_epochs": rounds * local_epochs}
    evaluation = {key: value for key, value in site.items() if key not in start.settings}
    evaluation |= {
        "ckpt_path": f"{{JOB_CONFIG_DIR}}/../{START}",
        "part": "validation",
    }  # its settings; FLARE sends weights

    writable_folder(target.parent, remedy="Make it writable, or name another folder for the job.")
    fresh = target.with_name(f".{target.name}.new-{uuid.uuid4().hex}")
    try:
        app = fresh / APP
        copy_bundle(root, app)
        torch.save(start.weights, app / START)
        write_model_settings(app / START, start.settings)
        network = {
            "_target_": "medssm_monai.bundle.build_network",
            "variant": start.settings["variant"],
            "settings": start.settings,
        }
        _write(app / NETWORK, {"network_def": network})
        _write(app / "config" / "config_fed_server.json", server_config(root.name, rounds, min_clients, wait))
        client = client_config(root.name, names, local_epochs, start.key_metric, training, evaluation)
        _write(app / "config" / "config_fed_client.json", client)
        meta = {"name": root.name, "resource_spec": {}, "min_clients": min_clients, "deploy_map": {APP: ["@ALL"]}}
        _write(fresh / "meta.json", meta)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _check(target: Path, overrides: Mapping[str, Any], **numbers: int) -> None:
    if os.path.lexists(target):
        raise FileExistsError(f"{target} is there already and stays as it is. Name another folder for the job.")
    least = {"wait": 0}
    wrong = [f"{name} {value}" for name, value in numbers.items() if value < least.get(name, 1)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: rounds, epochs and sites are 1 or more, seconds 0 or more.")
    managed = [f"{key} ({MANAGED[key]})" for key in overrides if key in MANAGED]
    if managed:
        raise ValueError(f"in a federation others decide {', '.join(managed)}. Leave these keys out.")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf8")


def start_files(job: str | os.PathLike[str]) -> tuple[Path, Path]:
    """First weights of a job and their settings.

    Raises:
        FileNotFoundError: the folder is no job that :func:`write_job` wrote.
    """
    weights = Path(job) / APP / START
    if not (weights.is_file() and settings_file(weights).is_file()):
        raise FileNotFoundError(
            f"{os.fspath(job)} is no job of this package: {APP}/{START} with its settings is not there. Give the "
            "folder that the action job wrote."
        )
    return weights, settings_file(weights)
