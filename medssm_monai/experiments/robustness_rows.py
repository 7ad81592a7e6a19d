"""What an evaluation of robustness runs: the clean images, corruptions at stated strengths, and other image sizes."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigParser

from ..networks.nets.mamba_mis import STRIDE
from ..utils import per_axis
from .plans import Row

__all__ = ["CLEAN", "STRENGTHS", "robustness_rows"]

CLEAN = "clean"
STRENGTHS: dict[str, tuple[str, tuple[float, ...], str]] = {
    "noise": ("noise", (0.05, 0.1, 0.2), "Gaussian noise, standard deviation as a share of the range"),
    "blur": ("blur", (0.5, 1.0, 2.0), "Gaussian blur, standard deviation in pixels"),
    "brighter": ("brightness", (0.1, 0.2, 0.4), "values times 1 plus this, cut at 1"),
    "darker": ("brightness", (-0.1, -0.2, -0.4), "values times 1 minus this"),
    "JPEG": ("jpeg", (50, 25, 10), "quality of the compression"),
    "missing": ("missing", (1, 4, 8), "black patches of a quarter of the sides, at random places, that may overlap"),
}
"""Name in the table -> kind of ``medssm_monai.transforms.Corrupt``, strengths from weak to strong, what they are."""


def robustness_rows(parser: ConfigParser, seed: int) -> list[Row]:
    """The rows for one bundle, the clean images first.

    Args:
        parser: config of the evaluation, with all files and overrides.
        seed: of what is random in a corruption.
    """
    rows = [Row(CLEAN)]
    volumes = _spatial_dims(parser) == 3
    for name, (kind, strengths, _) in STRENGTHS.items():
        if kind == "jpeg" and volumes:  # a format of images
            continue
        for strength in strengths:
            corruption = {"kind": kind, "strength": strength, "seed": seed}
            rows.append(Row(f"{name} {abs(strength)}", {"corruption": corruption}))
    return [*rows, *_sizes(parser)]


def _spatial_dims(parser: ConfigParser) -> int:
    return parser.get_parsed_content("spatial_dims") if "spatial_dims" in parser else 2


def _sizes(parser: ConfigParser) -> list[Row]:
    """Half and double the image size, or the next size up that the network takes; what stays the same is left out."""
    if "zoom" in parser:  # pairs keep their own size
        return [Row(f"zoom {zoom}", {"zoom": zoom}) for zoom in (0.5, 2)]
    dims = _spatial_dims(parser)
    size = per_axis(parser.get_parsed_content("image_size"), dims)
    windows = "resize_to" in parser  # of a segmentation, whose network keeps the size it was built for
    step = STRIDE if windows else parser.get_parsed_content("patch_size") if "patch_size" in parser else 1
    rows = []
    for factor in (0.5, 2):
        other = [max(-(-round(side * factor) // step), 1) * step for side in size]
        overrides: dict[str, Any] = {"resize_to": other, "roi_size": other} if windows else {"image_size": other}
        if other != size:
            rows.append(Row(f"size {' x '.join(map(str, other))}", overrides))
    return rows
