"""``medssm list``: the bundles that can be named, and the weights that they would use."""

from __future__ import annotations

import json
from pathlib import Path

from ...bundle.find import list_bundles
from ...bundle.weights import bundle_weights, describe_weights_file, named_by_its_card

__all__ = ["list_all"]


def list_all() -> int:
    """Print name, version and task of each bundle, and its weights; returns 0, or 1 where there is none."""
    found = list_bundles()
    for name, root in found.items():
        facts = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
        print(f"{name} {facts.get('version', '?')}: {facts.get('task', '?')}")
        print(f"  weights  {describe_weights_file(bundle_weights(root))}")
        for other in _others(root):
            print(f"           {describe_weights_file(other)}")
        print(f"  folder   {root}")
    if not found:
        print("No bundle is found; set MEDSSM_BUNDLES to a folder that holds some.")
    return int(not found)


def _others(root: Path) -> list[Path]:
    """Further weights that come with a bundle: those that a model card names."""
    files = sorted((root / "models").glob("*.pt"))
    return [file for file in files if named_by_its_card(file) and str(file) != bundle_weights(root)]
