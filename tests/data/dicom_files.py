"""Small DICOM files, written tag by tag: explicit VR, little endian, uncompressed or RLE.

Nothing but the standard (PS3.5) stands behind them, so that a reader is compared with the stored values and not with
another reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SECONDARY_CAPTURE", "deflate", "encapsulate", "save_dicom"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LITTLE_ENDIAN, RLE, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
LONG_FORM = ("OB", "OW", "SQ", "UN", "UT")


def _element(tag: int, vr: str, value: Any) -> bytes:
    if vr == "US":
        value = struct.pack(f"<{np.size(value)}H", *np.atleast_1d(value))
    elif isinstance(value, str):
        value = value.encode("ascii")
        value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    if value.startswith(ITEM):
        return head + struct.pack("<HI", 0, 0xFFFFFFFF) + value
    size = struct.pack("<HI", 0, len(value)) if vr in LONG_FORM else struct.pack("<H", len(value))
    return head + size + value


def _fragments(stored: np.ndarray) -> bytes:
    """One frame of one channel as RLE Lossless (PS3.5 annex G): a segment per byte, high bytes first, literal runs."""
    planes = stored.astype(stored.dtype.newbyteorder(">"))[..., None].view(np.uint8)  # (H, W, bytes)
    segments = []
    for number in range(planes.shape[-1]):
        rows = [row.tobytes() for row in planes[..., number]]  # no run crosses the end of a row
        runs = [row[start : start + 128] for row in rows for start in range(0, len(row), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    frame = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)
    return ITEM + struct.pack("<I", 0) + ITEM + struct.pack("<I", len(frame)) + frame + END + struct.pack("<I", 0)


def save_dicom(
    path: Path,
    stored: np.ndarray | None,
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    planar: int | None = None,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    sop_class: str = SECONDARY_CAPTURE,
    extra: Mapping[int, tuple[str, Any]] | None = None,
    rle: bool = False,
) -> Path:
    """Write stored values as they are.

    Args:
        path: the file.
        stored: ``(H, W)``, ``(frames, H, W)`` or, as it lies in the file, color ``(H, W, 3)`` or ``(3, H, W)``;
            integers of 8 or 16 bits. None leaves the pixels out.
        photometric: the photometric interpretation.
        bits_stored: fewer than the type has.
        planar: planar configuration of colors.
        frames: number of frames of ``(frames, H, W)``.
        size: rows and columns that the header claims, where they are not those of the array.
        sop_class: what the object is.
        extra: further elements, tag to (VR, value).
        rle: run-length encoded; one gray frame.
    """
    uid = f"1.2.826.0.1.3680043.10.{zlib.crc32(str(path).encode())}"
    meta = [
        _element(0x00020001, "OB", b"\0\1"),
        _element(0x00020002, "UI", sop_class),
        _element(0x00020003, "UI", uid),
        _element(0x00020010, "UI", RLE if rle else EXPLICIT_LITTLE_ENDIAN),
        _element(0x00020012, "UI", "1.2.826.0.1.3680043.10.1"),
    ]
    meta_bytes = b"".join(meta)
    elements: dict[int, tuple[str, Any]] = {0x00080016: ("UI", sop_class), 0x00080018: ("UI", uid)}
    elements |= {0x00080060: ("CS", "OT"), 0x0020000D: ("UI", f"{uid}.1"), 0x0020000E: ("UI", f"{uid}.2")}
    if stored is not None:
        bits = stored.dtype.itemsize * 8
        color = planar is not None
        height, width = size or (stored.shape[1:] if planar == 1 or frames else stored.shape[:2])
        elements |= {
            0x00280002: ("US", 3 if color else 1),
            0x00280004: ("CS", photometric),
            0x00280010: ("US", height),
            0x00280011: ("US", width),
            0x00280100: ("US", bits),
            0x00280101: ("US", bits_stored or bits),
            0x00280102: ("US", (bits_stored or bits) - 1),
            0x00280103: ("US", int(stored.dtype.kind == "i")),
            0x7FE00010: ("OB" if bits == 8 else "OW", stored.astype(stored.dtype.newbyteorder("<")).tobytes()),
        }
        elements |= {0x7FE00010: ("OB", _fragments(stored))} if rle else {}
        elements |= {0x00280006: ("US", planar)} if color else {}
        elements |= {0x00280008: ("IS", str(frames))} if frames else {}
    elements |= extra or {}
    body = b"".join(_element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\0" * 128 + b"DICM" + _element(0x00020000, "UL", struct.pack("<I", len(meta_bytes))) + meta_bytes + body
    )
    return path


def _with_syntax(content: bytes, syntax: str, padding: int = 0) -> tuple[bytes, bytes]:
    """Start of a file of :func:`save_dicom`, with another transfer syntax (and a longer version), and its data set."""
    end = 144 + struct.unpack("<I", content[140:144])[0]
    meta = content[144:end].replace(
        _element(0x00020010, "UI", EXPLICIT_LITTLE_ENDIAN), _element(0x00020010, "UI", syntax)
    )
    version = _element(0x00020001, "OB", b"\0\1")
    meta = meta.replace(version, _element(0x00020001, "OB", b"\0\1" + b"\0" * padding))
    return content[:140] + struct.pack("<I", len(meta)) + meta, content[end:]


def encapsulate(path: Path, syntax: str, stream: bytes, padding: int = 0) -> Path:
    """Exchange the pixels of a file of :func:`save_dicom` for a compressed stream.

    Args:
        path: the file.
        syntax: its new transfer syntax.
        stream: what lies in the one fragment.
        padding: bytes by which the meta header is longer than it need be.
    """
    head, body = _with_syntax(path.read_bytes(), syntax, padding)
    stream += b"\0" * (len(stream) % 2)
    fragments = ITEM + struct.pack("<I", 0) + ITEM + struct.pack("<I", len(stream)) + stream + END + bytes(4)
    before = body[: body.index(struct.pack("<HH", 0x7FE0, 0x0010))]
    path.write_bytes(head + before + _element(0x7FE00010, "OB", fragments))
    return path


def deflate(path: Path) -> Path:
    """Deflate the data set of a file of :func:`save_dicom`."""
    head, body = _with_syntax(path.read_bytes(), DEFLATED)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(head + packer.compress(body) + packer.flush())
    return path
