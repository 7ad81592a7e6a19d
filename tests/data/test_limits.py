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
from medssm_monai.data.check import image_problem
from medssm_monai.data.limits import MAX_PIXELS_VARIABLE, check_memory, open_raster
from medssm_monai.data.volume import read_volume
from medssm_monai.transforms import LoadImage2D, LoadImage3D

from .builders import picture, save, save_pairs, truncate
from .dicom_files import save_dicom


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
