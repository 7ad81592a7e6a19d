"""Which value stands for 1.0, for every kind of image.

========================================  ==============================================================
8 bits unsigned, and colors of 8 bits    255: pictures, NIfTI without a slope, ``.npz``, arrays in memory,
                                          volumes; DICOM the largest value of its stored bits
1 bit, boolean                            1
16 bits of pictures, ``.npz``, arrays     what is stated (``intensity_range``), else what the header says,
                                          else 65535 (:class:`IntensityRange`)
floating-point arrays in memory           they lie in [0, 1] already
all others                                the image's own minimum and maximum become 0 and 1: NIfTI and
                                          DICOM of 16 bits or with a slope, floating-point files
========================================  ==============================================================

Scanners use 10, 12 or 14 of 16 bits, and few files say so. Masks are not scaled.
"""

from __future__ import annotations

import logging
import math
import struct
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image

from ...utils.shown_names import shown_name

__all__ = [
    "DECLARED_RANGE",
    "EIGHT_BITS",
    "FULL_RANGE",
    "SIXTEEN_BITS",
    "IntensityRange",
    "declared_range",
    "full_range_of_type",
    "png_significant_bits",
    "range_metadata",
    "to_unit_range",
]

logger = logging.getLogger(__name__)
EIGHT_BITS, SIXTEEN_BITS = 255.0, 65535.0
FULL_RANGE, DECLARED_RANGE = "full_range", "declared_range"
"""Metadata of a loaded image whose values are in the units of the file; NaN where a file says nothing."""
RANGES_OF_TYPES = {"bool": 1.0, "uint8": EIGHT_BITS, "uint16": SIXTEEN_BITS}
FEW_BITS = 14  # of 16, so that the brightest pixel is below 0.25
MAX_SAMPLE_VALUE, SIGNED_MAX_SAMPLE_VALUE, BITS_PER_SAMPLE = 281, 341, 258  # TIFF tags
Values = TypeVar("Values", np.ndarray, torch.Tensor)


class IntensityRange:
    """The value that stands for 1.0 in 16-bit images.

    What is stated wins, then what the header says, then 65535. A 16-bit image that uses 14 bits or fewer and says
    nothing may be a 12-bit one, nearly black when divided by 65535: a warning names it, at the first image of this kind
    and then at every power of ten.

    Args:
        stated: value that stands for 1.0 in every 16-bit image, 4095 for 12 bits; None goes by each file.
        warn: whether to give that warning.

    Raises:
        ValueError: ``stated`` is no number from 1 to 65535.
    """

    def __init__(self, stated: float | None = None, warn: bool = True) -> None:
        if stated is not None and (isinstance(stated, bool) or not 1 <= float(stated) <= SIXTEEN_BITS):
            raise ValueError(
                f"intensity_range must be the value that stands for white in 16-bit images, 1 to 65535 (4095 for 12 "
                f"bits), or None to go by each file; got {stated!r}."
            )
        self.stated, self.warn = None if stated is None else float(stated), warn
        self._few: Counter[int] = Counter()
        self._lock = Lock()

    def __getstate__(self) -> dict:
        return {"stated": self.stated, "warn": self.warn}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["stated"], state["warn"])  # type: ignore[misc]

    def __call__(self, name: object, full_range: float | None, declared: float | None, largest: float) -> float | None:
        """Value that stands for 1.0.

        Args:
            name: image, for messages.
            full_range: of the type; only 65535 is looked at, any other is returned as it is.
            declared: what the header says, or None.
            largest: largest value of the image.

        Raises:
            ValueError: a value above the range that was stated.
        """
        if full_range != SIXTEEN_BITS:
            return full_range
        if self.stated is not None:
            if largest > self.stated:
                raise ValueError(
                    f"{name}: holds {largest:g}, more than intensity_range={self.stated:g}; state the range of the "
                    "scanner (1023, 4095, 16383 or 65535 for 10, 12, 14 or 16 bits)."
                )
            return self.stated
        if declared is not None and largest <= declared:
            return declared
        if self.warn and 0 < largest < 2**FEW_BITS:
            self._warn(name, largest)
        return full_range

    def _warn(self, name: object, largest: float) -> None:
        bits = max(math.ceil(math.log2(largest + 1)), 1)
        likely = next(usual for usual in (8, 10, 12, FEW_BITS) if bits <= usual)
        with self._lock:
            self._few[likely] += 1
            count = self._few[likely]
        if count in (1, 10, 100, 1000, 10000):
            logger.warning(
                "%s: 16-bit image whose largest value is %d: it uses %d bits or fewer (%d image(s) like it so far). "
                "65535 is taken as white, so it is nearly black; if white is %d, say so: --intensity_range %d (in "
                "Python intensity_range=%d; 1023, 4095, 16383 for 10, 12, 14 bits)",
                shown_name(str(name)),
                largest,
                likely,
                count,
                *[2**likely - 1] * 3,
            )


def full_range_of_type(dtype: np.dtype | torch.dtype) -> float | None:
    """Value that stands for 1.0 in pixels of a type; None of floating point and of other integers."""
    return RANGES_OF_TYPES.get(dtype.name if isinstance(dtype, np.dtype) else str(dtype).removeprefix("torch."))


def range_metadata(full_range: float | None, declared: float | None = None) -> dict[str, float]:
    """What :class:`~medssm_monai.transforms.ToUnitRange` reads: numbers, so that metadata of a batch collate."""
    return {
        FULL_RANGE: math.nan if full_range is None else float(full_range),
        DECLARED_RANGE: math.nan if declared is None else float(declared),
    }


def to_unit_range(values: Values, full_range: float | None) -> Values:
    """Float32 values by ``full_range``, or by their own minimum and maximum when it is None; constant ones give 0.

    In place, since images may be large: the values must be the caller's own.
    """
    if full_range is None:
        low, high = float(values.min()), float(values.max())
        values -= low
        full_range = high - low or 1.0
    values /= full_range
    return values


def png_significant_bits(stream: BinaryIO) -> int | None:
    """Bits that an ``sBIT`` chunk states for the first channel of a PNG; None without one. Pillow passes over it."""
    if stream.read(8) != b"\x89PNG\r\n\x1a\n":
        return None
    while len(head := stream.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == b"sBIT" and size:
            return stream.read(1)[0]
        if kind in (b"IDAT", b"IEND", b"PLTE"):
            return None
        stream.seek(size + 4, 1)
    return None


def declared_range(img: Image.Image, path: Path, values: np.ndarray) -> float | None:
    """What the header of an opened 16-bit PNG or TIFF says about its largest value; None where it says nothing.

    A PNG with an ``sBIT`` chunk should spread its values over all 16 bits; those that do have zeros below the
    significant bits, up to the largest value of these.
    """
    if img.format == "PNG":
        with path.open("rb") as stream:
            bits = png_significant_bits(stream)
        if not bits or bits >= 16:
            return None
        return None if not (values % 2 ** (16 - bits)).any() else 2.0**bits - 1
    tags = getattr(img, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    stated = [tags[tag] for tag in (MAX_SAMPLE_VALUE, SIGNED_MAX_SAMPLE_VALUE) if tag in tags]
    ranges = [float(value[0] if isinstance(value, tuple) else value) for value in stated]
    ranges += [2.0**bits - 1] if bits < 16 else []
    return next((value for value in ranges if 1 <= value < SIXTEEN_BITS), None)
