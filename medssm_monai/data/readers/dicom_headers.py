"""What a DICOM file holds, by its class, and how large its compressed pixels are, looked at before GDCM opens it."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from .limits import TooLargeError, check_size, max_pixels

__all__ = [
    "DECODED",
    "DEFLATED",
    "MARK",
    "PREAMBLE",
    "UNCOMPRESSED",
    "check_streams",
    "is_dicom",
    "kind_without_pixels",
    "object_without_pixels",
    "sop_class",
    "states_table",
    "transfer_syntax",
    "words_swapped",
]

MARK = b"DICM"
PREAMBLE = 128
SIZES = (1 << 10, 1 << 20)  # bytes of a meta header: usual, and the longest that is looked at
META = 0x0002  # group of the meta header
SOP_CLASS, TRANSFER_SYNTAX = 0x0002, 0x0010  # elements of it
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
STORAGE = "1.2.840.10008.5.1.4.1.1."
WITHOUT_PIXELS = {  # DICOM PS3.6, table A-1; a class that ends with a point is a family
    "1.2.840.10008.1.3.10": "index of a medium (DICOMDIR)",
    f"{STORAGE}88.": "structured report",
    f"{STORAGE}11.": "presentation state",
    f"{STORAGE}9.": "waveform",
    f"{STORAGE}104.": "document (PDF, CDA, 3D model)",
    f"{STORAGE}66": "raw data",
    f"{STORAGE}66.1": "spatial registration",
    f"{STORAGE}66.2": "spatial fiducials",
    f"{STORAGE}66.3": "spatial registration",
    f"{STORAGE}66.5": "surface segmentation",
    f"{STORAGE}481.3": "radiotherapy structure set",
    f"{STORAGE}481.4": "radiotherapy treatment record",
    f"{STORAGE}481.5": "radiotherapy plan",
    f"{STORAGE}481.8": "radiotherapy plan",
}


def is_dicom(path: Path) -> bool:
    """Whether a file carries the mark of DICOM files."""
    with path.open("rb") as file:
        return file.read(PREAMBLE + len(MARK))[PREAMBLE:] == MARK


def _meta(path: Path, wanted: int) -> str | None:
    """An element of the file's meta header (explicit little endian, PS3.10 section 7.1); None without one."""
    for size in SIZES:
        with path.open("rb") as file:
            head = file.read(size)
        at = PREAMBLE + len(MARK)
        if head[PREAMBLE:at] != MARK:
            return None
        while at + 12 <= len(head):
            group, element, kind = struct.unpack_from("<HH2s", head, at)
            start, length = (at + 12, head[at + 8 : at + 12]) if kind in LONG else (at + 8, head[at + 6 : at + 8])
            end = start + int.from_bytes(length, "little")
            if (group, element) == (META, wanted) and end <= len(head):
                return head[start:end].decode("ascii", "replace").strip("\0 ")
            if group != META:
                return None
            at = end
    return None


def transfer_syntax(path: Path) -> str | None:
    """Identifier of the encoding of a DICOM file's data set; None where the file does not say it."""
    return _meta(path, TRANSFER_SYNTAX)


def sop_class(path: Path) -> str | None:
    """Identifier of the class of a DICOM object; None where the file's meta header does not say it."""
    return _meta(path, SOP_CLASS)


def object_without_pixels(path: Path) -> str | None:
    """What a DICOM file is that holds no picture, such as ``"structured report"``; None for one that may hold one."""
    if path.name.upper() == "DICOMDIR":
        return WITHOUT_PIXELS["1.2.840.10008.1.3.10"]
    return kind_without_pixels(_meta(path, SOP_CLASS) or "")


def kind_without_pixels(uid: str) -> str | None:
    """The same by the identifier of a class of objects."""
    families = (what for known, what in WITHOUT_PIXELS.items() if known.endswith(".") and uid.startswith(known))
    return WITHOUT_PIXELS.get(uid) or next(families, None)


UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
DECODED = (  # by GDCM: also JPEG (baseline, extended, spectral, progressive, lossless), JPEG-LS, JPEG 2000
    *UNCOMPRESSED,
    *(DEFLATED, RLE),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91)),
)
ENCAPSULATED = "1.2.840.10008.1.2.4."  # JPEG, JPEG-LS, JPEG 2000
JPEG_2000 = re.compile(rb"\xff\x4f\xff\x51", re.DOTALL)  # start of a codestream, and its sizes
JPEG = re.compile(rb"\xff\xd8\xff", re.DOTALL)  # start of a picture of JPEG and JPEG-LS
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of a segment with the sizes
BIG_ENDIAN, BIG_ENDIAN_WORDS = UNCOMPRESSED[2], b"\x7f\xe0\0\x10OW"
TABLE = re.compile(  # Modality LUT Sequence and its first item, in both byte orders
    rb"\x28\0\0\x30(?:SQ\0\0)?.{4}\xfe\xff\0\xe0|\0\x28\x30\0(?:SQ\0\0)?.{4}\xff\xfe\xe0\0", re.DOTALL
)
TABLE_TAGS = (b"\x28\0\0\x30", b"\0\x28\x30\0")
PIXELS = re.compile(rb"\xe0\x7f\x10\0(?:O[BW]\0\0)|\x7f\xe0\0\x10(?:O[BW]\0\0)", re.DOTALL)
NO_LENGTH = b"\xff\xff\xff\xff"
LEVELS = re.compile(  # starts and ends of sequences whose lengths are not stated, in both byte orders
    rb"(\xff{4}(?=\xfe\xff[\0\xdd]\xe0|\xff\xfe\xe0[\0\xdd]))|\xfe\xff\xdd\xe0\0{4}|\xff\xfe\xe0\xdd\0{4}", re.DOTALL
)
DEEPEST = 8  # a tenth of a second of GDCM; each further level takes six times as long
COLORS = 3
DEFLATED_BYTES = 6  # for each pixel of the limit
GROUPS, BLOCK, HEAD = 132, 1 << 20, 1 << 21


def check_streams(path: Path) -> None:
    """Refuse a DICOM file that GDCM would take too long or too much memory for: compressed pictures that are above the
    limit by what their own headers say, sequences in each other, each level of which takes a multiple of time.

    Raises:
        TooLargeError: such a picture, or a deflated file that unpacks to more than the largest picture takes, or that
            does not say that it is one; too many levels of sequences.
    """
    syntax = transfer_syntax(path)
    _check_depth(path, syntax)
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


def _check_depth(path: Path, syntax: str | None) -> None:
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header = _inflated_head(content) if syntax == DEFLATED else content
        if header.find(NO_LENGTH) < 0:  # faster than a pattern
            return
        depth = 0
        for found in LEVELS.finditer(header):
            depth += 1 if found[1] else -1
            if depth > DEEPEST:
                raise TooLargeError(
                    f"{path}: more than {DEEPEST} sequences in each other whose lengths are not stated; export it "
                    "without them, or with their lengths."
                )


def states_table(path: Path) -> bool:
    """Whether the header of a file tells its values by a table (Modality LUT) rather than by slope and intercept."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if transfer_syntax(path) == DEFLATED:
            return TABLE.search(_inflated_head(content)) is not None
        first = min((at for at in map(content.find, TABLE_TAGS) if at >= 0), default=-1)  # faster than a pattern
        if first < 0:
            return False
        pixels = PIXELS.search(content)
        return TABLE.search(content, first, pixels.start() if pixels else len(content)) is not None


def words_swapped(path: Path) -> bool:
    """Whether the pixels of a file lie in big-endian words (OW), which may hold two values of eight bits each."""
    if transfer_syntax(path) != BIG_ENDIAN:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(BIG_ENDIAN_WORDS) >= 0


def _inflated_head(content: mmap.mmap) -> bytes:
    """Start of a deflated data set."""
    start = GROUPS + 12 + struct.unpack("<I", content[GROUPS + 8 : GROUPS + 12])[0]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:], HEAD)
    except zlib.error:
        return b""  # said by the reader


def _pictures(content: mmap.mmap) -> Iterator[tuple[int, ...]]:
    for found in JPEG_2000.finditer(content):
        head = content[found.start() + 8 : found.start() + 42]
        if len(head) == 34:
            right, bottom, left, top = struct.unpack_from(">4I", head)
            (components,) = struct.unpack_from(">H", head, 32)
            layers = -(-components // (COLORS + 1))
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
        file.seek(GROUPS)
        head = file.read(12)  # the length of the meta header, whose end is where the deflated part starts
        if len(head) < 12:
            return
        file.seek(GROUPS + 12 + struct.unpack("<I", head[8:])[0])
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
