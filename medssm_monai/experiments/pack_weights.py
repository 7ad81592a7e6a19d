"""Pack a checkpoint to ship with a bundle: half precision, with its settings beside it, within the size that a
repository takes.

    python -m medssm_monai.experiments.pack_weights eval/models/model.pt bundles/medspectralnet/models/model.pt

Networks load the file as any other: PyTorch casts each tensor to the parameter's own precision. Evaluate the packed
file, not only the one it came from, and write that figure on the model card.

Conformal thresholds (``conformal`` in the settings) are left out: they belong to the weights at full precision.
Calibrate the packed file again.

Exit status: 0, 1 when the packed file would be too large, 2 when the checkpoint cannot be packed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from ..bundle import read_weights, write_model_settings
from ..bundle.contents import LARGEST_FILE
from ..bundle.settings import CONFORMAL, WEIGHTS_SHA256, saved_settings
from ..utils import file_sha256
from ..utils.text_files import printable

__all__ = ["LIMIT", "halved", "main"]

LIMIT = LARGEST_FILE


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Float tensors in half precision, others as they are.

    Raises:
        ValueError: a finite value that half precision cannot hold (above 65,504), naming its tensor.
    """
    packed = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    beyond = [name for name, value in packed.items() if value.is_floating_point() and not value.isfinite().all()]
    if beyond:
        raise ValueError(f"{', '.join(beyond)}: values that half precision cannot hold; ship full precision instead.")
    return packed


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 1 when the packed file would be too large."""
    parser = argparse.ArgumentParser(
        prog="python -m medssm_monai.experiments.pack_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="model.pt of a training, with model.json beside it")
    parser.add_argument("target", type=Path, help="file to write, with its settings beside it")
    options = parser.parse_args(arguments)
    settings = options.source.with_suffix(".json")
    if not settings.is_file():
        parser.error(f"{settings} is missing: weights without their settings are not to be shipped")
    try:
        packed = halved(read_weights(options.source))
        options.target.parent.mkdir(parents=True, exist_ok=True)
        part = options.target.with_suffix(".part")  # torch names the archive inside by this stem: the same bytes always
        torch.save(packed, part)
    except (OSError, ValueError) as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2
    size = part.stat().st_size
    if size > LIMIT:
        part.unlink()
        print(f"{size / 2**20:.1f} MiB, more than the {LIMIT / 2**20:.0f} MiB of a bundle's file; nothing written")
        return 1
    os.replace(part, options.target)
    digest = file_sha256(options.target)
    kept = {key: value for key, value in (saved_settings(options.source) or {}).items() if key != CONFORMAL}
    write_model_settings(options.target, {**kept, WEIGHTS_SHA256: digest})
    print(f"{options.target}: {size / 2**20:.1f} MiB, SHA-256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
