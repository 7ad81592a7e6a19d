"""Bundles with tiny networks, seeded and not trained, for tests of what surrounds a network."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medssm_monai import get_network
from medssm_monai.bundle import write_model_settings

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


@dataclass(frozen=True)
class Tiny:
    """A small network of a bundle: its settings, and which of them its constructor takes."""

    bundle: str
    settings: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def network(self, seed: int = 0) -> torch.nn.Module:
        torch.manual_seed(seed)
        return get_network(self.settings["variant"], **self.arguments, **self.settings["network_args"])


CLASSES = ["ring", "smooth", "lobed"]
MAMBA_MIS = Tiny(
    "mamba_mis",
    {
        "variant": "mamba_mis_s",
        "in_channels": 3,
        "image_size": [32, 32],
        "network_args": {"base_dim": 8, "d_state": 4},
    },
    {"in_channels": 3, "img_size": [32, 32]},
)
MEDCONVMAMBA = Tiny(
    "medconvmamba",
    {
        "variant": "medconvmamba_t",
        "spatial_dims": 2,
        "in_channels": 1,
        "image_size": [32, 32],
        "patch_size": 8,
        "network_args": {"embed_dim": 16, "depth": 1, "d_state": 4},
        "class_names": CLASSES,
        "temperature": 2.0,
    },
    {"spatial_dims": 2, "in_channels": 1, "num_classes": 3, "img_size": [32, 32], "patch_size": 8},
)
MEDSPECTRALNET = Tiny(
    "medspectralnet",
    {
        "variant": "medspectralnet",
        "spatial_dims": 2,
        "in_channels": 3,
        "image_size": [32, 32],
        "network_args": {"layers": [1, 1, 1, 1]},
        "class_names": CLASSES,
        "temperature": 1.0,
    },
    {"spatial_dims": 2, "in_channels": 3, "num_classes": 3},
)
SMALL_FUSION = {"depth": 1, "exchange_rounds": 1, "d_state": 4}
CLINICAL_FMAMBA = Tiny(
    "clinical_fmamba",
    {
        "variant": "clinical_fmamba_2d",
        "spatial_dims": 2,
        "sources": ["_a", "_b"],
        "channels": [1, 1],
        "roi_size": [32, 32],
        "network_args": {**SMALL_FUSION, "decoder_depth": 1},
    },
    {},
)
VOLUMES = Tiny(
    "clinical_fmamba",
    {
        **CLINICAL_FMAMBA.settings,
        "variant": "clinical_fmamba_3d",
        "spatial_dims": 3,
        "roi_size": [16, 16, 16],
        "network_args": SMALL_FUSION,
    },
    {},
)


def copy_bundle(tiny: Tiny, folder: Path, weights: bool = True, name: str | None = None) -> Path:
    """Copy a bundle's configs into ``folder``, with the weights of the seeded tiny network; returns the bundle."""
    root = folder / (name or tiny.bundle)
    shutil.copytree(BUNDLES / tiny.bundle / "configs", root / "configs")
    (root / "models").mkdir()
    if weights:
        torch.save(tiny.network().state_dict(), root / "models" / "model.pt")
        write_model_settings(root / "models" / "model.pt", tiny.settings)
    return root
