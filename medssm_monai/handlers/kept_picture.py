"""What is kept of every segmented image until it is known which are shown."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

__all__ = ["KeptPicture"]

LONGEST_SIDE = 640  # pixels; a picture, not a result
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class KeptPicture:
    """
    An image with the masks of label and prediction, small enough to keep those of a whole test set in memory.

    Which image is the median is known only at the end. So each is brought to at most 640 pixels on its longer side and
    held as JPEG of high quality (about 60 kB for a photograph), the masks as bits.
    """

    jpeg: bytes
    masks: bytes
    size: tuple[int, int]

    @classmethod
    def pack(cls, image: np.ndarray, label: np.ndarray, pred: np.ndarray) -> KeptPicture:
        """
        Keep a picture.

        Args:
            image: uint8 ``(H, W, 3)``.
            label, pred: bool ``(H, W)``.
        """
        from PIL import Image

        picture, masks = Image.fromarray(image), [Image.fromarray(mask.astype(np.uint8)) for mask in (label, pred)]
        scale = LONGEST_SIDE / max(picture.size)
        if scale < 1:
            size = tuple(max(1, round(side * scale)) for side in picture.size)
            picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
            masks = [mask.resize(size, Image.Resampling.NEAREST) for mask in masks]
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        bits = np.packbits(np.stack([np.asarray(mask, dtype=bool) for mask in masks]))
        return cls(stream.getvalue(), bits.tobytes(), (picture.height, picture.width))

    def unpack(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image uint8 ``(h, w, 3)``, label and prediction bool ``(h, w)``."""
        from PIL import Image

        height, width = self.size
        bits = np.unpackbits(np.frombuffer(self.masks, dtype=np.uint8), count=2 * height * width)
        label, pred = bits.reshape(2, height, width).astype(bool)
        return np.asarray(Image.open(io.BytesIO(self.jpeg)).convert("RGB")), label, pred
