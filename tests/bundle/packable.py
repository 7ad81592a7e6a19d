"""A small bundle with everything that the Model Zoo asks for, and with what its user's runs have left in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from medssm_monai.bundle import write_model_settings

from .tiny_bundles import MAMBA_MIS, Tiny, copy_bundle

BELONGS = {"LICENSE", "docs/README.md", "docs/figure.png", "splits/fold.json", "models/model.pt", "models/model.json"}
LEFT = (
    ".hidden",
    "configs/.train.yaml.swp",
    "configs/__pycache__/x.pyc",
    "docs/cache.db",
    "eval/run/mlruns.db",
    "eval/run/report.md",
    "images/patient.png",
    "models/model.ts",
    "models/model_20260102-030405.pt",
    "models/other.pt",
    "models/trained/model.pt",
    "outputs/mask.png",
)


def write_card(weights: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    weights.with_suffix(".md").write_text(f"# Model card\n\nSHA-256 `{digest}`\n")


def write_weights(weights: Path, tiny: Tiny = MAMBA_MIS, seed: int = 7, card: bool = False) -> Path:
    """Weights of another training, with their settings."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tiny.network(seed).state_dict(), weights)
    write_model_settings(weights, tiny.settings)
    if card:
        write_card(weights)
    return weights


def packable(folder: Path, tiny: Tiny = MAMBA_MIS, name: str | None = None, card: bool = True) -> Path:
    """The bundle's folder."""
    root = copy_bundle(tiny, folder, name=name)
    for path in (*BELONGS, *LEFT):
        if not (root / path).exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(f"text of {path}\n")
    if card:
        write_card(root / "models" / "model.pt")
    return root


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Times and contents of all files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
