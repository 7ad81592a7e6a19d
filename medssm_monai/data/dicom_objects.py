"""What a DICOM file holds, by its class, without reading it: pictures, or an index, a report, a plan."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["MARK", "is_dicom", "object_without_pixels", "transfer_syntax"]

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


def object_without_pixels(path: Path) -> str | None:
    """What a DICOM file is that holds no picture, such as ``"structured report"``; None for one that may hold one."""
    if path.name.upper() == "DICOMDIR":
        return WITHOUT_PIXELS["1.2.840.10008.1.3.10"]
    uid = _meta(path, SOP_CLASS) or ""
    families = (what for known, what in WITHOUT_PIXELS.items() if known.endswith(".") and uid.startswith(known))
    return WITHOUT_PIXELS.get(uid) or next(families, None)
