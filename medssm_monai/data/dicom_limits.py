"""Compressed DICOM files, looked at before GDCM opens them: it makes room for what the stream inside claims, whatever
rows and columns the header gives."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from .dicom_objects import transfer_syntax
from .limits import TooLargeError, check_size, max_pixels

__all__ = ["UNCOMPRESSED", "check_streams"]

UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
DEFLATED = "1.2.840.10008.1.2.1.99"
ENCAPSULATED = "1.2.840.10008.1.2.4."  # JPEG, JPEG-LS, JPEG 2000
JPEG_2000 = re.compile(rb"\xff\x4f\xff\x51", re.DOTALL)  # start of a codestream, and its sizes
JPEG = re.compile(rb"\xff\xd8\xff", re.DOTALL)  # start of a picture of JPEG and JPEG-LS
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of a segment with the sizes
COLOURS = 3
DEFLATED_BYTES = 6  # for each pixel of the limit
PREAMBLE, BLOCK, HEAD = 132, 1 << 20, 1 << 21


def check_streams(path: Path) -> None:
    """Refuse a compressed DICOM file whose pictures are above the limit by what their own headers say.

    Raises:
        TooLargeError: such a picture, or a deflated file that unpacks to more than the largest picture takes, or that
            does not say that it is one.
    """
    syntax = transfer_syntax(path)
    if syntax == DEFLATED:
        _check_deflated(path)
    elif syntax is None or syntax.startswith(ENCAPSULATED):  # GDCM guesses where a file does not say it
        if path.stat().st_size == 0:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if syntax is None and content.find(DEFLATED.encode(), 0, HEAD) >= 0:
                raise TooLargeError(f"{path}: deflated, without a meta header that says so; save it undeflated.")
            for sides in _pictures(content):
                check_size(path, sides)


def _pictures(content: mmap.mmap) -> Iterator[tuple[int, ...]]:
    for found in JPEG_2000.finditer(content):
        head = content[found.start() + 8 : found.start() + 42]
        if len(head) == 34:
            right, bottom, left, top = struct.unpack_from(">4I", head)
            (components,) = struct.unpack_from(">H", head, 32)
            layers = -(-components // (COLOURS + 1))
            yield (max(bottom - top, 0), max(right - left, 0), *([layers] if layers > 1 else []))
    for found in JPEG.finditer(content):
        at = found.start() + 2
        while (head := content[at : at + 9])[:1] == b"\xff" and len(head) == 9:
            length, height, width = struct.unpack(">xxHxHH", head)
            if head[1] in FRAMES:
                yield (height, width)
            if head[1] in FRAMES or length < 2:
                break
            at += 2 + length


def _check_deflated(path: Path) -> None:
    most, unpacked = DEFLATED_BYTES * max_pixels(), 0
    with path.open("rb") as file:
        file.seek(PREAMBLE)
        head = file.read(12)  # the length of the meta header, whose end is where the deflated part starts
        if len(head) < 12:
            return
        file.seek(PREAMBLE + 12 + struct.unpack("<I", head[8:])[0])
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        block = file.read(BLOCK)
        while block and not inflater.eof:
            try:
                unpacked += len(inflater.decompress(block, BLOCK))
            except zlib.error:
                return  # said by the reader
            if unpacked > most:
                raise TooLargeError(f"{path}: too large, it unpacks to more than {most >> 20} MiB; save it undeflated.")
            block = inflater.unconsumed_tail or file.read(BLOCK)
