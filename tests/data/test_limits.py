"""Images above the limit are refused by their header, before anything is decoded; other faults are told apart."""

from __future__ import annotations

import struct
import zipfile
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import DatalistError, ImageReadError, TooLargeError, segmentation_datalists
from medssm_monai.data.datalists.checks import image_problem
from medssm_monai.data.datalists.split_files import read_split
from medssm_monai.data.datalists.tables import read_table
from medssm_monai.data.readers.limits import MAX_PIXELS_VARIABLE, check_memory, open_raster
from medssm_monai.data.readers.volume import read_volume
from medssm_monai.transforms import LoadImage2D, LoadImage3D

from .builders import picture, save, save_pairs, truncate
from .dicom_files import deflate, encapsulate, save_dicom


def claimed_png(path, width, height):
    """A PNG whose header claims a size that its pixels do not have."""
    save(picture(4, 4), path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    return path


def claimed_nifti(path, shape):
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[40:56] = struct.pack("<8h", len(shape), *shape, *[1] * (7 - len(shape)))
    path.write_bytes(content)
    return path


def claimed_npz(path, shape):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return f"{path}/images/0"


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.png", lambda path: claimed_png(path, 60000, 50000)),
        ("a.nii", lambda path: claimed_nifti(path, (30000, 30000))),
        ("a.dcm", lambda path: save_dicom(path, np.zeros((2, 2), np.uint8), size=(60000, 50000))),
        ("a.npz", lambda path: claimed_npz(path, (1, 60000, 50000))),
    ],
)
def test_a_picture_that_claims_to_be_huge_is_refused_by_its_header(tmp_path, name, make):
    source = make(tmp_path / name)
    with pytest.raises(TooLargeError, match=rf"{name}.*too large.*limit is 36000000.*{MAX_PIXELS_VARIABLE}="):
        LoadImage2D()(source)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.nii", lambda path: claimed_nifti(path, (9000, 9000, 9000))),
        ("a.npz", lambda path: claimed_npz(path, (1, 9000, 9000, 9000))),
    ],
)
def test_a_volume_likewise(tmp_path, name, make):
    with pytest.raises(TooLargeError, match=r"9000 x 9000 x 9000 = 729000000000 voxels"):
        LoadImage3D()(make(tmp_path / name))


def test_the_limit_is_an_environment_variable_and_inclusive(tmp_path, monkeypatch):
    path = save(picture(6, 7), tmp_path / "a.png")
    for limit, fits in (("42", True), ("41", False)):
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, limit)
        if fits:
            assert LoadImage2D()(path).shape == (3, 6, 7)
        else:
            with pytest.raises(TooLargeError, match=r"6 x 7 = 42 pixels, the limit is 41.*MEDSSM_MAX_PIXELS=42"):
                LoadImage2D()(path)
    for wrong in ("many", "0", "-5"):
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, wrong)
        with pytest.raises((ValueError, ImageReadError), match="whole number of pixels"):
            LoadImage2D()(path)


def test_pillow_has_its_own_limit_back_and_does_not_interfere(tmp_path, monkeypatch):
    path = save(picture(6, 7), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert open_raster(path).size == (7, 6)
    assert Image.MAX_IMAGE_PIXELS == 5


def test_an_array_larger_than_the_memory(tmp_path):
    with pytest.raises(TooLargeError, match=r"x: too large, its header claims 9\d+\.\d GiB"):
        check_memory("x", 10**15)
    with pytest.raises(TooLargeError, match="images.*GiB"):
        LoadImage2D()(claimed_npz(tmp_path / "a.npz", (10**9, 1000, 1000)))


def test_the_check_of_a_data_set_calls_it_too_large(tmp_path):
    save_pairs(tmp_path / "images", tmp_path / "masks", list("abcdefgh"))
    claimed_png(tmp_path / "images" / "b.png", 60000, 50000)
    claimed_png(tmp_path / "masks" / "c.png", 60000, 50000)
    with pytest.raises(DatalistError) as caught:
        segmentation_datalists(tmp_path, split="by_name")
    assert [(problem.kind, problem.path[-5:]) for problem in caught.value.problems] == [
        ("too large", "b.png"),
        ("too large", "c.png"),
    ]
    assert MAX_PIXELS_VARIABLE in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html></html>", "an HTML page with an image's name"),
        (b"\n <html>", "an HTML page"),
        (b"%PDF-1.7", "a PDF"),
        (b"any text", "not an image of a known format"),
    ],
)
def test_contents_that_are_no_image_are_told_apart(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageReadError, match=rf"a.png: .*{words}"):
        LoadImage2D()(tmp_path / "a.png")
    assert words in str(image_problem(str(tmp_path / "a.png"), full=True))
    assert words in str(image_problem(str(tmp_path / "a.png"), full=False))


def test_a_wrong_suffix_is_no_fault(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png", format="JPEG")
    assert LoadImage2D()(tmp_path / "a.png").shape == (3, 12, 16)


def test_truncation_and_missing_rights_are_told_apart(tmp_path, monkeypatch):
    path = save(picture(64, 64), tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError, match=r"a.png: may not be read \(permission denied\)"):
        LoadImage2D()(path)
    assert str(image_problem(str(path), full=True)).endswith("(permission denied)")
    monkeypatch.undo()
    truncate(path)
    with pytest.raises(ImageReadError, match=r"a.png: cannot be decoded.*truncated or damaged"):
        LoadImage2D()(path)


def test_a_picture_is_no_volume(tmp_path):
    with pytest.raises(ImageReadError, match=r"a.png: a picture, not a volume"):
        LoadImage3D()(save(picture(), tmp_path / "a.png"))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_contents_that_start_other_programs_are_not_opened(tmp_path, monkeypatch, name):
    def started(*args, **kwargs):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(ImageReadError, match=name):
        LoadImage2D()(tmp_path / name)


@pytest.mark.parametrize("name", ["v.npy", "v.mat", "v.pkl"])
def test_volumes_of_unnamed_formats_are_refused_unread(tmp_path, monkeypatch, name):
    monkeypatch.setattr("pickle.load", lambda *args: pytest.fail("unpickled"))
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "v.npy").rename(tmp_path / name)
    with pytest.raises(ImageReadError, match="no known image format"):
        read_volume(tmp_path / name)


LZW_PIXELS = bytes([0x80, 0x00, 0x10]) * 20


def tiff_of_tiles(path, side):
    """A TIFF of 100 x 100 pixels whose tile claims a side."""
    tags = [
        (256, 100),
        (257, 100),
        (258, 8),
        (259, 5),
        (262, 1),
        (277, 1),
        (322, side),
        (323, side),
        (324, 8),
        (325, 60),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(LZW_PIXELS)) + LZW_PIXELS + directory + bytes(4))
    return path


def jpeg_2000(width, height):
    sizes = struct.pack(">HH4I4IH", 41, 0, width, height, 0, 0, width, height, 0, 0, 1) + bytes([7, 1, 1])
    return b"\xff\x4f\xff\x51" + sizes + bytes(40)


def jpeg(width, height, marker=0xC0):
    table = b"\xff\xdb" + struct.pack(">H", 67) + bytes(65)
    return b"\xff\xd8" + table + bytes([0xFF, marker]) + struct.pack(">HBHH", 11, 8, height, width) + bytes(4)


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        ("1.2.840.10008.1.2.4.90", jpeg_2000(60000, 60000)),
        ("1.2.840.10008.1.2.4.50", jpeg(60000, 60000)),
        ("1.2.840.10008.1.2.4.80", jpeg(60000, 60000, 0xF7)),
    ],
    ids=["JPEG 2000", "JPEG", "JPEG-LS"],
)
@pytest.mark.parametrize("padding", [0, 5000], ids=["as usual", "behind a long meta header"])
def test_a_compressed_picture_inside_a_small_dicom_is_looked_at(tmp_path, syntax, stream, padding):
    path = encapsulate(save_dicom(tmp_path / "a.dcm", np.zeros((10, 10), np.uint8)), syntax, stream, padding)
    for load in (LoadImage2D(), LoadImage3D()):
        with pytest.raises(TooLargeError, match="60000 x 60000 = 3600000000 pixels"):
            load(path)


def test_a_deflated_dicom_is_read_and_one_that_unpacks_without_end_is_not(tmp_path, monkeypatch):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    small = deflate(save_dicom(tmp_path / "small.dcm", pixels))
    np.testing.assert_array_equal(LoadImage2D(channels=1, scale=False)(small)[0], pixels)
    bomb = deflate(save_dicom(tmp_path / "bomb.dcm", np.zeros((4000, 1000), np.uint8)))
    assert bomb.stat().st_size < 10_000
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "500_000")
    with pytest.raises(TooLargeError, match="bomb.dcm: too large, it unpacks to more than 2 MiB"):
        LoadImage2D()(bomb)
    hidden = bomb.read_bytes().replace(b"DICM", b"dicm")
    (tmp_path / "hidden.dcm").write_bytes(hidden)
    with pytest.raises(TooLargeError, match="deflated, without a meta header"):
        LoadImage2D()(tmp_path / "hidden.dcm")


def test_pixels_that_a_dicom_claims_and_does_not_have_are_not_made_up(tmp_path):
    path = save_dicom(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8), size=(600, 600))
    for load in (LoadImage2D(), LoadImage3D()):
        with pytest.raises(ImageReadError, match="a.dcm: .*fewer pixels than its header says"):
            load(path)


def test_a_tile_larger_than_its_picture(tmp_path):
    with pytest.raises(TooLargeError, match="32768 x 32768"):
        LoadImage2D()(tiff_of_tiles(tmp_path / "a.tif", 32768))


@pytest.mark.parametrize("offset", [2.0**31, 16e6, float("nan")])
def test_extensions_of_nifti_without_end(tmp_path, offset):
    path = claimed_nifti(tmp_path / "a.nii", (4, 4))
    content = bytearray(path.read_bytes())
    content[108:112] = struct.pack("<f", offset)
    path.write_bytes(content)
    for load in (LoadImage2D(), LoadImage3D()):
        with pytest.raises(TooLargeError, match="bytes before the image"):
            load(path)


def test_an_array_packed_as_no_images_are(tmp_path, monkeypatch):
    monkeypatch.setattr("medssm_monai.data.readers.limits.SMALL", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros((40, 256, 256), np.uint8))
    with pytest.raises(TooLargeError, match="'images': too large, .* bytes would unpack to"):
        LoadImage2D()(f"{tmp_path}/bomb.npz/images/0")
    images = np.random.default_rng(0).integers(0, 256, (40, 256, 256), np.uint8)
    np.savez_compressed(tmp_path / "images.npz", images=images)
    assert LoadImage2D()(f"{tmp_path}/images.npz/images/0").shape == (3, 256, 256)


def test_colors_and_long_values_of_volumes_count(tmp_path, monkeypatch):
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.float64), np.eye(4)), tmp_path / "f8.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.eye(4)), tmp_path / "i2.nii.gz")
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "40")  # 120 voxels
    assert LoadImage3D()(tmp_path / "i2.nii.gz").shape == (1, 6, 5, 4)
    with pytest.raises(TooLargeError, match=r"120 voxels that count 2 times .*MEDSSM_MAX_PIXELS=80"):
        LoadImage3D()(tmp_path / "f8.nii.gz")


def test_a_list_that_is_none_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("medssm_monai.data.readers.limits.MAX_TEXT", 1 << 10)
    (tmp_path / "list.csv").write_text("image\n" + "a.png\n" * 1000)
    (tmp_path / "split.json").write_text(" " * 5000)
    for read, name in ((read_table, "list.csv"), (read_split, "split.json")):
        with pytest.raises(TooLargeError, match=f"{name}: too large"):
            read(tmp_path / name)


def test_a_split_file_that_nests_without_end(tmp_path):
    (tmp_path / "split.json").write_text("[" * 100_000)
    with pytest.raises(DatalistError, match="not valid JSON"):
        read_split(tmp_path / "split.json")


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("items", [False, True])
def test_sequences_in_each_other_are_not_given_to_gdcm(tmp_path, items, implicit):
    """Each level takes it a multiple of time; a hundred of them never end."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom, which writes the file, is not installed")
    path = save_dicom(tmp_path / "deep.dcm", np.zeros((4, 5), np.uint8))
    for levels in (7, 100):
        header, item = pydicom.dcmread(path), pydicom.Dataset()
        for _ in range(levels):
            item.is_undefined_length_sequence_item = items
            outer = pydicom.Dataset()
            outer.ContentSequence = [item]
            outer["ContentSequence"].is_undefined_length = True
            item = outer
        header.ContentSequence = [item]
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
        header.save_as(tmp_path / f"{levels}.dcm", enforce_file_format=True)
    LoadImage2D()(tmp_path / "7.dcm")
    with pytest.raises(TooLargeError, match="more than 8 sequences in each other"):
        LoadImage2D()(tmp_path / "100.dcm")
