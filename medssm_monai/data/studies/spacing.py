"""Size of a picture's pixels, from the attribute that states it for its kind of image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["PixelSize", "numbers", "pixel_size"]

STATED = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
CENTIMETERS, TISSUE = 3, 1  # PhysicalUnitsX/YDirection, RegionSpatialFormat (2D)
MM_OF_CM = 10.0


@dataclass(frozen=True)
class PixelSize:
    """Millimeters between rows and between columns, and the attribute that says so.

    ``ImagerPixelSpacing`` is measured at the detector: what lies before it is magnified on the picture.
    """

    mm: tuple[float, float]
    source: str


def numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Values of an attribute; None where it is missing, or not ``count`` finite numbers."""
    try:
        value = header.get(keyword)
        values = [value] if isinstance(value, (int, float, str)) else list(value or [])
        found = tuple(float(part) for part in values)
    except (TypeError, ValueError, AttributeError):
        return None
    return found if len(found) == count and all(abs(part) < float("inf") for part in found) else None


def pixel_size(header: Dataset) -> PixelSize | None:
    """``PixelSpacing``, else that at the detector, else that of a scanned film, else of the one region of an
    ultrasound picture; None where nothing says it."""
    for keyword in STATED:
        found = numbers(header, keyword, 2)
        if found is not None and min(found) > 0:
            return PixelSize((found[0], found[1]), keyword)
    return _of_regions(header.get("SequenceOfUltrasoundRegions") or [])


def _of_regions(regions: Sequence[Dataset]) -> PixelSize | None:
    sizes = set()
    for region in regions:
        units = [region.get(f"PhysicalUnits{axis}Direction") for axis in "XY"]
        deltas = [numbers(region, f"PhysicalDelta{axis}", 1) for axis in "YX"]
        if region.get("RegionSpatialFormat") == TISSUE and units == [CENTIMETERS] * 2 and all(deltas):
            sizes.add(tuple(abs(delta[0]) * MM_OF_CM for delta in deltas if delta))
    if len(sizes) != 1 or min(size := sizes.pop()) <= 0:
        return None
    return PixelSize((size[0], size[1]), "SequenceOfUltrasoundRegions")
