"""12-bit images in 16-bit files: the header's range, the one that was stated, or 65535 with a warning."""

from __future__ import annotations

import logging
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.transforms import LoadImage2D, LoadImage2Dd, LoadImage3D

from .builders import save

DEEP = np.array([[0, 1000], [2000, 4095]], np.uint16)


def load(source, **kwargs):
    return LoadImage2D(channels=1, **kwargs)(source)[0].numpy()


def png_with_sbit(path, values, bits):
    Image.fromarray(values).save(path)
    content = path.read_bytes()
    chunk = b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[:33] + chunk + content[33:])  # behind IHDR
    return path


def tiff(path, values, photometric=1, bits=16, data=None, **tags):
    """A TIFF of 2 x 2 pixels, tag by tag."""
    data = values.astype("<u2").tobytes() if data is None else data
    entries = [(256, 3, 2), (257, 3, 2), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 3, 2), (279, 4, len(data)), *((int(tag[1:]), 3, value) for tag, value in tags.items())]
    body = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries))
    for tag, kind, value in sorted(entries):
        body += struct.pack("<HHI", tag, kind, 1) + struct.pack("<I" if kind == 4 else "<Hxx", value)
    path.write_bytes(body + b"\0" * 4)
    return path


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_headers_that_state_the_range_are_believed(tmp_path, warned):
    np.testing.assert_allclose(load(png_with_sbit(tmp_path / "a.png", DEEP, 12)), DEEP / 4095, atol=1e-6)
    np.testing.assert_allclose(load(tiff(tmp_path / "b.tif", DEEP, t281=4095)), DEEP / 4095, atol=1e-6)
    packed = bytes([0x00, 0x03, 0xE8, 0x7D, 0x0F, 0xFF])  # 0, 1000; 2000, 4095 in 12 bits each
    np.testing.assert_allclose(load(tiff(tmp_path / "c.tif", DEEP, bits=12, data=packed)), DEEP / 4095, atol=1e-6)
    assert not warned()


def test_a_png_whose_significant_bits_are_spread_over_sixteen_keeps_its_range(tmp_path):
    spread = (DEEP // 17) << 4  # up to 3840, zeros below the significant bits: a dark picture
    np.testing.assert_allclose(load(png_with_sbit(tmp_path / "a.png", spread, 12)), spread / 65535, atol=1e-6)
    full = (DEEP << 4) | (DEEP >> 8)
    np.testing.assert_allclose(load(png_with_sbit(tmp_path / "b.png", full, 12)), full / 65535, atol=1e-6)


def test_white_is_zero_is_turned_over_for_eight_and_sixteen_bits(tmp_path):
    full = (DEEP * 16).astype(np.uint16)
    np.testing.assert_allclose(load(tiff(tmp_path / "a.tif", full, photometric=0)), (65535 - full) / 65535, atol=1e-6)
    half = tiff(tmp_path / "b.tif", DEEP, photometric=0, t281=4095)
    np.testing.assert_allclose(load(half), (4095 - DEEP) / 4095, atol=1e-6)
    eight = tiff(tmp_path / "c.tif", DEEP, photometric=0, bits=8, data=bytes([0, 50, 100, 255]))
    np.testing.assert_allclose(load(eight), np.array([[255, 205], [155, 0]]) / 255, atol=1e-6)


@pytest.mark.parametrize("form", ["png", "tif", "npz", "array", "tensor"])
@pytest.mark.parametrize(("bits", "white"), [(10, 1023), (12, 4095), (14, 16383)])
def test_few_bits_without_a_header_are_warned_of_and_can_be_stated(tmp_path, form, bits, white, warned):
    values = (DEEP.astype(np.int64) * white // 4095).astype(np.uint16)
    source = {
        "npz": lambda: np.savez(tmp_path / "a.npz", images=values[None]) or f"{tmp_path}/a.npz/images/0",
        "array": lambda: values,
        "tensor": lambda: torch.from_numpy(values[None].copy()),
    }.get(form, lambda: save(values, tmp_path / f"a.{form}"))()
    np.testing.assert_allclose(load(source), values / 65535, atol=1e-7)
    (message,) = warned()
    assert f"uses {bits} bits or fewer" in message
    assert f"--intensity_range {white}" in message
    assert ("array" if form in ("array", "tensor") else "a.") in message.split(":")[0]
    np.testing.assert_allclose(load(source, intensity_range=white), values / white, atol=1e-6)
    assert len(warned()) == 1


def test_volumes_in_arrays_follow_the_same_rule(tmp_path, warned):
    values = np.arange(210, dtype=np.uint16).reshape(5, 6, 7) * 19
    np.savez(tmp_path / "a.npz", images=values[None])
    for source in (values, f"{tmp_path}/a.npz/images/0"):
        np.testing.assert_allclose(LoadImage3D(intensity_range=4095)(source)[0].numpy(), values / 4095, atol=1e-6)
        assert not warned()
    np.testing.assert_allclose(LoadImage3D()(values)[0].numpy(), values / 65535, atol=1e-6)
    assert len(warned()) == 1


def test_one_warning_for_many_files_and_then_by_powers_of_ten(tmp_path, warned):
    loader = LoadImage2Dd("image", channels=1)
    path = str(save(DEEP, tmp_path / "a.png"))
    for _ in range(25):
        loader({"image": path})
    assert [message.split("fewer (")[1].split(" image")[0] for message in warned()] == ["1", "10"]


def test_what_is_not_doubtful_is_not_warned_of(tmp_path, warned):
    for name, values in {"full": DEEP * 16, "black": DEEP * 0, "eight": (DEEP // 17).astype(np.uint8)}.items():
        load(save(values.astype(np.uint16 if name != "eight" else np.uint8), tmp_path / f"{name}.png"))
    load(save(DEEP.astype(np.float32), tmp_path / "float.tif"))
    assert not warned()


def test_values_above_the_stated_range_are_an_error_that_names_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"a.png: holds 4095, more than intensity_range=1023"):
        load(save(DEEP, tmp_path / "a.png"), intensity_range=1023)
    eight = np.array([[0, 255]], np.uint8)
    np.testing.assert_allclose(load(save(eight, tmp_path / "b.png"), intensity_range=1023), eight / 255, atol=1e-6)


def test_dark_sixteen_bit_color_is_warned_of(tmp_path, warned):
    rows = b"".join(b"\0" + b"".join(struct.pack(">3H", v, v, v) for v in row) for row in DEEP.tolist())
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    np.testing.assert_allclose(load(tmp_path / "c.png"), DEEP / 65535, atol=1 / 255)
    assert "12 bits or fewer" in warned()[0]
    np.testing.assert_allclose(load(tmp_path / "c.png", intensity_range=4095), DEEP / 4095, atol=1 / 15)


def test_a_loader_goes_to_another_process(tmp_path):
    loader = pickle.loads(pickle.dumps(LoadImage2D(channels=1, intensity_range=4095)))
    np.testing.assert_allclose(loader(save(DEEP, tmp_path / "a.png"))[0].numpy(), DEEP / 4095, atol=1e-6)
