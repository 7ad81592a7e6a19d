"""Running a bundle's configs from tests, in this process and as a program, on a tiny network and few demo images."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from monai.utils import path_to_sqlite_uri

from medssm_monai.utils import root_cause

from ..thorough import first_of

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bundle:
    """A bundle of the repository and how its tests make it small and quick."""

    name: str
    tiny: Mapping[str, Any]
    overlays: tuple[str, ...]
    key_metric: str
    size_key: str = "image_size"
    sources: tuple[str, ...] = ("",)  # folders of the sources of a fusion
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # config -> options for what metadata say

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        return REPOSITORY / "bundles" / self.name

    @property
    def variant(self) -> str:
        """The network that the tests train."""
        return str(self.tiny["variant"])

    def write_input(self, folder: Path, write_image: Callable[..., Path]) -> Path:
        """A folder with one image, or one registered pair, as the inference takes it."""
        for number, source in enumerate(self.sources):
            write_image(folder / source / "a.png", 40, 30, "L" if source else "RGB", seed=number)
        return folder

    def config(self, *names: str) -> list[str]:
        return [str(self.folder / "configs" / name) for name in names]

    def workflow(self, names: tuple[str, ...], out: Path, kind: str = "train", **overrides: Any) -> ConfigWorkflow:
        """An initialized workflow of the given config files that writes below ``out`` only."""
        folders = {"bundle_root": str(self.folder), "output_dir": f"$'{out.as_posix()}'"}
        if names[0] == "train.yaml" and "ckpt_path" not in overrides:  # weights named by their file need no folder
            folders["ckpt_dir"] = str(out / "models")
        arguments = {**folders, **overrides}
        flow = ConfigWorkflow(config_file=self.config(*names), workflow_type=kind, logging_file=False, **arguments)
        flow.initialize()
        return flow

    def run(self, names: tuple[str, ...], out: Path, kind: str = "train", **overrides: Any) -> ConfigWorkflow:
        """Run the workflow to its end and hand it back; what is tracked goes into a store that is there already."""
        if kind == "train":
            give_store(out)
        flow = self.workflow(names, out, kind, **overrides)
        flow.run()
        flow.finalize()
        return flow

    def mlflow_runs(self, out: Path) -> tuple[Any, list[Any]]:
        """MLflow's client and the runs of this bundle's experiment below ``out``."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(path_to_sqlite_uri(out / "mlruns.db"))
        experiment = client.get_experiment_by_name(self.name)
        return client, client.search_runs([experiment.experiment_id])


QUICK = {"datalists#demo_counts": [8, 4, 4], "max_epochs": 1, "batch_size": 4, "device": "cpu"}
MAMBA_MIS = Bundle(
    "mamba_mis",
    {
        "variant": "mamba_mis_s",
        "network_args": {"base_dim": 8, "d_state": 4},
        "image_size": [32, 32],
        **QUICK,
    },
    overlays=("protocol.yaml", "baseline_unet.yaml"),
    key_metric="val_mean_dice",
)
MEDCONVMAMBA = Bundle(
    "medconvmamba",
    {
        "variant": "medconvmamba_t",
        "network_args": {"embed_dim": 16, "depth": 1, "d_state": 4},
        "image_size": [32, 32],
        **QUICK,
    },
    overlays=("protocol.yaml", "baseline_resnet18.yaml"),
    key_metric="val_roc_auc",
    described={
        "train.yaml": {"in_channels": 1, "num_classes": 2, "patch_size": 4},
        "inference.yaml": {"ckpt_path": str(REPOSITORY / "bundles/medconvmamba/models/model.pt")},
    },
)
MEDSPECTRALNET = Bundle(
    "medspectralnet",
    {
        "variant": "medspectralnet",
        "network_args": {"layers": [1, 1, 1, 1]},
        "image_size": [32, 32],
        **QUICK,
    },
    overlays=("protocol.yaml", "baseline_resnet18.yaml"),
    key_metric="val_roc_auc",
    described={
        "train.yaml": {"in_channels": 1, "num_classes": 2},
        "inference.yaml": {"ckpt_path": str(REPOSITORY / "bundles/medspectralnet/models/model.pt")},
    },
)
CLINICAL_FMAMBA = Bundle(
    "clinical_fmamba",
    {
        "variant": "clinical_fmamba_2d",
        "network_args": {"depth": 1, "exchange_rounds": 1, "decoder_depth": 1, "d_state": 4},
        "roi_size": [32, 32],
        **QUICK,
    },
    overlays=("protocol.yaml",),
    key_metric="val_fusion_score",
    size_key="roi_size",
    sources=("source_a", "source_b"),
)
CLASSIFIERS = (MEDCONVMAMBA, MEDSPECTRALNET)
BUNDLES = (MAMBA_MIS, *CLASSIFIERS, CLINICAL_FMAMBA)
every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=str)
first_bundle = pytest.mark.parametrize("bundle", first_of(BUNDLES), ids=str)
"""One bundle in the default set, the others with the thorough ones: what makes them alike is held equal by
:mod:`.test_shared_parts`, and a program that imports MONAI takes its time."""


def leaves(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested dictionaries, by their names as MONAI writes them, ``train#dataset#data``."""
    if isinstance(content, dict) and content:
        for key, part in content.items():
            yield from leaves(part, f"{name}#{key}" if name else key)
    else:
        yield name, content


@lru_cache
def _empty_store() -> Path:
    """An MLflow database without any run; to make one takes seconds."""
    from mlflow.tracking import MlflowClient

    store = Path(tempfile.mkdtemp(prefix="medssm-store-")) / "mlruns.db"
    atexit.register(shutil.rmtree, store.parent, ignore_errors=True)
    MlflowClient(path_to_sqlite_uri(store)).search_experiments()
    return store


def give_store(out: Path) -> None:
    """Put an empty tracking store where a run below ``out`` looks for one."""
    if not out.parent.is_dir():
        return  # nothing can be written there
    out.mkdir(mode=0o700, exist_ok=True)
    if not (out / "mlruns.db").exists():
        shutil.copyfile(_empty_store(), out / "mlruns.db")


@contextmanager
def failing(kind: type[BaseException], message: str) -> Iterator[None]:
    """Expect an error whose root cause, below MONAI's wrappers, is of this kind and says this."""
    with pytest.raises(RuntimeError) as raised:
        yield
    cause = root_cause(raised.value)
    assert isinstance(cause, kind), cause
    assert re.search(message, str(cause), re.DOTALL), cause


def program(arguments: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` as a user would, with this interpreter."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def command_line(overrides: Mapping[str, Any], out: Path) -> list[str]:
    """The overrides of a tiny run as words of a command line."""
    words = ["--output_dir", f"$'{out.as_posix()}'", "--ckpt_dir", str(out / "models")]
    for key, value in overrides.items():
        words += [f"--{key}", str(value)]
    return words
