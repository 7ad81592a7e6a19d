"""Pictures inside of a page, as data URIs: nothing is fetched when it is opened."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np

from .html_markup import Html, element

__all__ = [
    "LARGEST_PNG",
    "PATIENT",
    "chart",
    "file_source",
    "jpeg_source",
    "patient_picture",
    "picture_source",
    "png_source",
    "thumbnail",
]

LARGEST_PNG = 60_000
"""Bytes above which a picture is kept as JPEG."""
PATIENT = "patient"
"""Class of the figures that show an image of the data."""
_WIDEST = 1200  # pixels
_QUALITY = 88
_THUMBNAIL = 160


def _source(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def file_source(path: Path, widest: int = _WIDEST) -> str:
    """The data URI of a PNG file; a large or wide one is made smaller."""
    return png_source(path.read_bytes(), widest)


def png_source(content: bytes, widest: int = _WIDEST) -> str:
    """The data URI of the bytes of a PNG file; a large one is made smaller."""
    from PIL import Image

    if len(content) <= LARGEST_PNG:
        return _source(content, "png")
    with Image.open(io.BytesIO(content)) as opened:
        return picture_source(np.asarray(opened.convert("RGB")), widest)


def picture_source(picture: np.ndarray, widest: int = _WIDEST) -> str:
    """The data URI of a picture.

    Args:
        picture: uint8 ``(H, W, 3)``.
        widest: pixels; wider ones are made smaller.
    """
    from PIL import Image

    image = Image.fromarray(picture)
    if image.width > widest:
        height = max(1, round(image.height * widest / image.width))
        image = image.resize((widest, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    if stream.tell() <= LARGEST_PNG:
        return _source(stream.getvalue(), "png")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return _source(stream.getvalue(), "jpeg")


def thumbnail(picture: np.ndarray) -> bytes:
    """A small picture as JPEG, its longer side 160 to 320 pixels; small images are enlarged by a whole factor.

    Args:
        picture: uint8 ``(H, W, 3)``.
    """
    from PIL import Image

    factor = max(1, -(-_THUMBNAIL // max(picture.shape[:2])))
    image = Image.fromarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))
    image.thumbnail((2 * _THUMBNAIL, 2 * _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def jpeg_source(content: bytes) -> str:
    """The data URI of the bytes of a JPEG file."""
    return _source(content, "jpeg")


def chart(source: str, alt: str, caption: str = "") -> Html:
    """A picture of figures, in which no patient is seen."""
    return _figure(source, alt, caption, "chart")


def patient_picture(source: str, alt: str, caption: str) -> Html:
    """A picture that shows an image of the data."""
    return _figure(source, alt, caption, PATIENT)


def _figure(source: str, alt: str, caption: str, kind: str) -> Html:
    inside = [element("img", src=source, alt=alt)]
    return element("figure", *inside, *([element("figcaption", caption)] if caption else []), class_=kind)
