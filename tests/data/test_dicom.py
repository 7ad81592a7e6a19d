"""DICOM: the values read are those displayed, compared with stored values and the standard's formulas by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medssm_monai.data import ImageReadError, Reader2D
from medssm_monai.data.readers.dicom import DicomError, displayed, read_dicom, reader_inverts
from medssm_monai.transforms import LoadImage2D

from .dicom_files import save_dicom

EIGHT = np.array([[0, 10, 20], [100, 200, 255]], np.uint8)
TWELVE = np.array([[0, 10, 20], [100, 200, 4095]], np.uint16)
RAMP = np.arange(256 * 3, dtype=np.uint16).reshape(24, 32) * 5
RESCALE = {0x00281052: ("DS", "-1024"), 0x00281053: ("DS", "2")}
WINDOW = {0x00281050: ("DS", "100"), 0x00281051: ("DS", "50")}
INVERSE = {0x20500020: ("CS", "INVERSE")}
COLORS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)
YBR = np.array([[[76, 85, 255], [150, 44, 21]], [[29, 255, 107], [128, 128, 128]]], np.uint8)  # of the primaries


def read(path, **kwargs):
    reader = Reader2D(**{"channels": None, "scale": False, **kwargs})
    return reader.get_data(reader.read(path))[0]


@pytest.mark.parametrize("rle", [False, True], ids=["plain", "rle"])
@pytest.mark.parametrize(
    ("stored", "bits_stored", "extra", "shown"),
    [
        (EIGHT, 8, None, EIGHT),
        (TWELVE, 12, None, TWELVE),
        (TWELVE, 16, None, TWELVE),
        (RAMP, 12, None, RAMP),
        (TWELVE, 12, RESCALE, 2.0 * TWELVE - 1024),
        (EIGHT, 8, RESCALE, 2.0 * EIGHT - 1024),
        (TWELVE, 12, WINDOW, TWELVE),
    ],
    ids=["8", "12", "16", "ramp", "12-rescaled", "8-rescaled", "window-is-not-applied"],
)
def test_gray_values_are_rescaled_once_and_monochrome1_is_turned_over_once(
    tmp_path, stored, bits_stored, extra, shown, rle
):
    stored, shown = np.tile(stored, (8, 8)), np.tile(np.asarray(shown, np.float32), (8, 8))
    two = read(save_dicom(tmp_path / "two.dcm", stored, bits_stored=bits_stored, extra=extra, rle=rle))
    np.testing.assert_array_equal(two[0], shown)
    one = read(save_dicom(tmp_path / "one.dcm", stored, "MONOCHROME1", bits_stored, extra=extra, rle=rle))
    slope, intercept = (2, -1024) if extra is RESCALE else (1, 0)
    np.testing.assert_array_equal(one[0], slope * (2.0**bits_stored - 1 - stored) + intercept)


@pytest.mark.parametrize("stored", [EIGHT, TWELVE, RAMP], ids=["8", "12", "ramp"])
@pytest.mark.parametrize("extra", [None, RESCALE, INVERSE], ids=["plain", "rescaled", "presentation-inverse"])
def test_one_picture_in_both_forms_is_one_array(tmp_path, stored, extra):
    bits = 8 if stored.dtype == np.uint8 else 12
    turned = (2**bits - 1 - stored.astype(np.int64)).astype(stored.dtype)
    two = save_dicom(tmp_path / "two.dcm", stored, bits_stored=bits, extra=extra if extra is RESCALE else None)
    one = save_dicom(tmp_path / "one.dcm", turned, "MONOCHROME1", bits, extra=extra)
    torch.testing.assert_close(LoadImage2D()(one), LoadImage2D()(two), rtol=0, atol=1e-6)


def test_a_monochrome1_mask_is_that_of_its_twin(tmp_path):
    mask = np.zeros((12, 16), np.uint8)
    mask[2:6, 3:9] = 255
    one = save_dicom(tmp_path / "one.dcm", 255 - mask, "MONOCHROME1")
    np.testing.assert_array_equal(read(one, kind="mask")[0], mask > 0)


def test_signed_values(tmp_path):
    stored = np.array([[-1000, 10, 20], [100, 200, 2047]], np.int16)
    np.testing.assert_array_equal(read(save_dicom(tmp_path / "s.dcm", stored))[0], stored)
    np.testing.assert_array_equal(read(save_dicom(tmp_path / "t.dcm", stored, bits_stored=12))[0], stored)
    one = read(save_dicom(tmp_path / "one.dcm", stored, "MONOCHROME1"))[0]
    np.testing.assert_array_equal(one, -1 - stored.astype(np.float32))
    small = np.array([[-128, 0], [1, 127]], np.int8)
    np.testing.assert_array_equal(read(save_dicom(tmp_path / "small.dcm", small))[0], small)


def test_bits_above_those_stored_are_no_part_of_the_value(tmp_path):
    np.testing.assert_array_equal(read(save_dicom(tmp_path / "o.dcm", TWELVE | 0x8000, bits_stored=12))[0], TWELVE)


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize(
    ("photometric", "signed", "expected"),
    [("MONOCHROME1 ", "0", [7166.0, -1024.0]), ("MONOCHROME1", "1", [-3072.0, -1026.0]), ("MONOCHROME2 ", "0", None)],
)
def test_what_the_reader_has_not_turned_over_is_turned_over_here(photometric, signed, expected, inverted):
    """12 bits, slope 2, intercept -1024. Unsigned 0 and 4095 show as 2 * 4095 - 1024 and -1024; signed values x as
    -1 - x: 1023 as 2 * -1024 - 1024, 0 as 2 * -1 - 1024."""
    stored = np.array([1023.0, 0.0] if signed == "1" else [0.0, 4095.0], np.float32)
    values = 2 * stored - 1024
    tags = {"0028|0004": photometric, "0028|0101": "12", "0028|0103": signed, "0028|1052": "-1024", "0028|1053": "2 "}
    shown = displayed(values, tags, inverted_by_reader=inverted)
    np.testing.assert_array_equal(shown, values if inverted or expected is None else expected)


def test_the_reader_is_asked_and_the_answer_fits_a_file_of_other_values(tmp_path):
    import itk

    path = save_dicom(tmp_path / "one.dcm", np.array([[0, 200]], np.uint8), "MONOCHROME1")
    alone = itk.array_from_image(itk.imread(str(path))).ravel().tolist()
    assert reader_inverts() == (alone == [255, 55])
    assert read(path).ravel().tolist() == [255, 55]


@pytest.mark.parametrize("planar", [0, 1])
def test_colors_in_both_planar_configurations(tmp_path, planar):
    def lay(values):
        return values.transpose(2, 0, 1) if planar else values

    expected = COLORS.transpose(2, 0, 1)
    np.testing.assert_array_equal(read(save_dicom(tmp_path / "rgb.dcm", lay(COLORS), "RGB", planar=planar)), expected)
    ybr = read(save_dicom(tmp_path / "ybr.dcm", lay(YBR), "YBR_FULL", planar=planar))
    shown = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [128, 128, 128]]]).transpose(2, 0, 1)
    np.testing.assert_allclose(ybr, shown, atol=2)


def test_ybr_full_422_shares_chroma_between_two_pixels(tmp_path):
    stored = np.array([76, 60, 85, 255, 29, 200, 128, 128], np.uint8)  # Y Y Cb Cr
    pixels = {0x7FE00010: ("OB", stored.tobytes())}
    path = save_dicom(tmp_path / "ybr.dcm", np.zeros((2, 2, 3), np.uint8), "YBR_FULL_422", planar=0, extra=pixels)
    # R = Y + 1.402 (Cr - 128), G = Y - 0.344 (Cb - 128) - 0.714 (Cr - 128), B = Y + 1.772 (Cb - 128)
    shown = np.array([[[254, 0, 0], [238, 0, 0]], [[29, 29, 29], [200, 200, 200]]])
    np.testing.assert_allclose(read(path), shown.transpose(2, 0, 1), atol=2)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_its_colors(tmp_path, bits):
    kind = f"<u{bits // 8}"
    tables = np.array([[0, 255, 0, 128], [0, 0, 255, 64], [0, 0, 0, 32]]) * (1 if bits == 8 else 256)
    extra = {0x00281101 + i: ("US", [4, 0, bits]) for i in range(3)}
    extra |= {0x00281201 + i: ("OW", table.astype(kind).tobytes()) for i, table in enumerate(tables)}
    path = save_dicom(tmp_path / "p.dcm", np.array([[0, 1], [2, 3]], np.uint8), "PALETTE COLOR", extra=extra)
    shown = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], [128, 64, 32]]])
    np.testing.assert_array_equal(read(path), shown.transpose(2, 0, 1))


@pytest.mark.parametrize("width", [1, 3, 4])
def test_rows_and_columns_of_narrow_pictures(tmp_path, width):
    stored = np.arange(5 * width, dtype=np.uint8).reshape(5, width)
    np.testing.assert_array_equal(read(save_dicom(tmp_path / "n.dcm", stored))[0], stored)


def test_orientation_is_told_by_the_affine_and_not_applied_to_the_pixels(tmp_path):
    """Rows run towards the feet (y = +1 of LPS is posterior, here z = -1), spacing 2 (rows) x 3 (columns) mm."""
    extra = {
        0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.2"),
        0x00200032: ("DS", "10\\20\\30"),
        0x00200037: ("DS", "1\\0\\0\\0\\0\\-1"),
        0x00280030: ("DS", "2\\3"),
    }
    path = save_dicom(tmp_path / "o.dcm", EIGHT, sop_class="1.2.840.10008.5.1.4.1.1.2", extra=extra)
    reader = Reader2D(channels=None, scale=False)
    array, meta = reader.get_data(reader.read(path))
    np.testing.assert_array_equal(array[0], EIGHT)
    # LPS to RAS turns the first two coordinates; (row 1, column 2) lies at x = 10 + 2 * 3, y = 20, z = 30 - 2.
    np.testing.assert_allclose(meta["affine"] @ [1, 2, 0, 1], [-16, -20, 28, 1], atol=1e-5)


REPORT, PRESENTATION, STRUCTURES, SPECTRUM = (
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("88.11", "11.1", "481.3", "4.2")
)


@pytest.mark.parametrize(
    ("sop_class", "words"),
    [
        (REPORT, "DICOM structured report"),
        (PRESENTATION, "DICOM presentation state"),
        (STRUCTURES, "DICOM radiotherapy structure set"),
        (SPECTRUM, "another kind of DICOM object"),
    ],
)
def test_an_object_without_pixels_is_called_so(tmp_path, sop_class, words):
    path = save_dicom(tmp_path / "x.dcm", None, sop_class=sop_class)
    with pytest.raises(ImageReadError, match=rf"x.dcm: holds no pixels: .*{words}") as caught:
        read(path)
    assert "truncated" not in str(caught.value)


def test_other_faults_are_told_apart(tmp_path):
    (tmp_path / "text.dcm").write_text("no DICOM")
    (tmp_path / "empty.dcm").write_bytes(b"")
    whole = save_dicom(tmp_path / "cut.dcm", np.zeros((64, 64), np.uint8)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-2000])
    save_dicom(tmp_path / "deep.dcm", np.zeros((4, 4, 3), np.uint16), "RGB", planar=0)
    save_dicom(tmp_path / "frames.dcm", np.zeros((3, 4, 5), np.uint8), frames=3)
    for name, words in {
        "text": "no DICOM file",
        "empty": "the file is empty",
        "cut": "truncated or damaged",
        "deep": "RGB, 16 of 16 bits",
        "frames": "single slice",
    }.items():
        with pytest.raises(ImageReadError, match=rf"{name}.dcm: .*{words}"):
            read(tmp_path / f"{name}.dcm")


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize(
    ("function", "shown"),
    [(None, [0, 0, 10.5 / 49, 1]), ("LINEAR_EXACT", [0, 0, 10 / 50, 1]), ("SIGMOID", None)],
)
def test_the_window_of_a_file_where_it_is_asked_for(tmp_path, photometric, function, shown):
    """Center 100, width 50, of measured values 2 x - 1024: 0, 74, 85 and 4095 (PS3.3 C.11.2.1.2 and .3)."""
    measured = np.array([-1024.0, 74.0, 85.0, 200.0])
    stored = np.tile(((measured + 1024) / 2).astype(np.uint16), (2, 1))
    measured = 2.0 * stored[0] - 1024
    if shown is None:
        shown = 1 / (1 + np.exp(-4 * (measured - 100) / 50))
    elif function is None:
        shown = np.clip((measured - 99.5) / 49 + 0.5, 0, 1)
    else:
        shown = np.clip((measured - 100) / 50 + 0.5, 0, 1)
    extra = {**RESCALE, **WINDOW, **({0x00281056: ("CS", function)} if function else {})}
    path = save_dicom(tmp_path / "w.dcm", stored, photometric, 12, extra=extra)
    values, _ = read_dicom(path, window="file")
    expected = shown if photometric == "MONOCHROME2" else 1 - shown
    np.testing.assert_allclose(values[..., 0].T if values.ndim == 3 else values.T, [expected] * 2, atol=1e-6)


def test_a_window_that_is_not_there_or_unknown(tmp_path):
    path = save_dicom(tmp_path / "n.dcm", EIGHT)
    with pytest.raises(DicomError, match="states no window"):
        read_dicom(path, window="file")
    with pytest.raises(ValueError, match="window must be 'file' or None"):
        read_dicom(path, window="brain")


def test_values_told_by_a_table_are_refused(tmp_path):
    item = b"\xfe\xff\x00\xe0" + (16).to_bytes(4, "little") + b"\x28\0\x04\x30LO\x02\0HU" + b"\x28\0\x06\x30US"[:6]
    path = save_dicom(tmp_path / "lut.dcm", EIGHT, extra={0x00283000: ("SQ", item + b"\0" * 0)})
    with pytest.raises(ImageReadError, match=r"lut.dcm: .*Modality LUT"):
        read(path)


def test_frames_by_their_address(tmp_path):
    stored = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    path = save_dicom(tmp_path / "cine.dcm", stored, frames=3)
    for number, frame in enumerate(stored):
        loaded = LoadImage2D(channels=1, scale=False)(f"{path}/frames/{number}")
        np.testing.assert_array_equal(loaded[0], frame)
        assert loaded.meta["spatial_shape"].tolist() == [4, 5]
    one = save_dicom(tmp_path / "one.dcm", stored[0])
    np.testing.assert_array_equal(read(f"{one}/frames/0")[0], stored[0])
    for address, words in ((f"{path}/frames/3", r"holds 3 frame\(s\)"), (f"{one}/frames/1", r"holds 1 frame\(s\)")):
        with pytest.raises(ImageReadError, match=words):
            read(address)


def test_a_number_of_frames_that_is_none(tmp_path):
    path = save_dicom(tmp_path / "bad.dcm", EIGHT, extra={0x00280008: ("IS", "1A")})
    with pytest.raises(ImageReadError, match=r"bad.dcm: its header is damaged \(Number of Frames is '1A'\)"):
        read(path)
