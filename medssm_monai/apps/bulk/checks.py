"""Checks of inputs beside the fingerprint of the training images: voxel sizes and modality, by the settings and the
metadata of the bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bundle.version import METADATA
from ...data.readers.channels import voxel_size
from .outcome import Input

if TYPE_CHECKING:
    from ...bundle.predictor import Predictor

__all__ = ["expected_modalities", "input_checks", "sides_of", "spacing_of"]

FACTOR = 2.0
"""By which voxels may differ from those that the network was trained on."""
CODES = {
    **dict.fromkeys(("x-ray", "xray", "radiograph"), ("CR", "DX", "RF", "RG", "XA", "MG")),
    **dict.fromkeys(("us", "ultrasound"), ("US", "IVUS")),
    **dict.fromkeys(("mr", "mri"), ("MR",)),
    "ct": ("CT",),
    "pet": ("PT",),
    "spect": ("NM", "PT"),
    **dict.fromkeys(("dermoscopy", "photography"), ("XC", "ES", "DMS")),
    "endoscopy": ("ES", "XC"),
}
"""What metadata call a modality -> DICOM's codes of it."""
VOLUME = 3


def sides_of(affine: np.ndarray | None) -> tuple[float, ...]:
    """Voxel size in mm, rounded; empty without an affine."""
    return () if affine is None else tuple(float(side) for side in np.round(voxel_size(affine), 4))


def spacing_of(prediction: Any) -> tuple[float, ...]:
    """Voxel size of a volume in mm, rounded; empty for pictures."""
    pixels = prediction.meta.get("spatial_shape", ())
    if len(pixels) != VOLUME or int(min(pixels)) < 1:
        return ()
    return sides_of(prediction.affine)


def expected_modalities(predictor: Predictor) -> tuple[str, ...]:
    """DICOM's codes of the modalities that the bundle's metadata name for its images; empty where they say none."""
    try:
        metadata = json.loads((predictor.root / METADATA).read_text(encoding="utf8"))
        inputs = metadata["network_data_format"]["inputs"].values()
        named = " ".join(str(one.get("modality", "")) for one in inputs).lower()
    except (OSError, ValueError, KeyError, AttributeError):
        return ()
    words = re.findall(r"[a-z-]+", named)
    return tuple(dict.fromkeys(code for word in words for code in CODES.get(word, ())))


def input_checks(seen: Sequence[Input], predictor: Predictor) -> tuple[str, ...]:
    """In which respects inputs are unlike what the bundle says that it takes; the texts hold nothing of the image.

    Sizes, colors and intensities are compared with the fingerprint by the prediction itself; another number of channels
    or axes is an error of its own.
    """
    found: list[str] = []
    spacing = predictor.settings.get("spacing")
    if spacing is not None and any(_unlike(one.spacing, spacing) for one in seen):
        found.append(f"spacing (training volumes: {' x '.join(f'{side:g}' for side in spacing)} mm)")
    modalities = expected_modalities(predictor)
    if modalities and any(one.modality and one.modality.upper() not in modalities for one in seen):
        found.append(f"modality (the bundle is for {', '.join(modalities)})")
    return tuple(found)


def _unlike(sides: Sequence[float], expected: Sequence[float]) -> bool:
    if len(sides) != len(expected):
        return False
    ratios = [side / other for side, other in zip(sorted(sides), sorted(expected), strict=True)]
    return any(not 1 / FACTOR <= ratio <= FACTOR for ratio in ratios)
