"""Folders of DICOM files: what becomes a volume, what pictures, what is set aside and why."""

from __future__ import annotations

import logging
import os
import re
from copy import deepcopy

import numpy as np
import pytest

from medssm_monai.data import ImageReadError
from medssm_monai.data.readers.channels import read_channels
from medssm_monai.data.readers.volume import read_volume
from medssm_monai.dicom import find_series, pixel_size
from medssm_monai.transforms import LoadImage2D

from .builders import CT, MR, PYDICOM, ULTRASOUND, enhanced, save, stack

pytestmark = PYDICOM
TURN = np.deg2rad(25)
OBLIQUE = (np.cos(TURN), np.sin(TURN), 0, -np.sin(TURN) * np.cos(0.4), np.cos(TURN) * np.cos(0.4), np.sin(0.4))
PLACES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "flipped": (-1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": OBLIQUE,
}
SPACING = (2.0, 3.0)


def reasons(found):
    return {item.path.name: item.reason for item in found.set_aside}


def by_hand(column: int, row: int, number: int, orientation) -> np.ndarray:
    """Place of a voxel, RAS+ mm: C.7.6.2.1.1 of PS3.3, then x and y turned."""
    along_row, along_column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    start = np.array([10.0, -20.0, 30.0]) + 4 * number * np.cross(along_row, along_column)
    return np.array([-1, -1, 1]) * (start + along_row * SPACING[1] * column + along_column * SPACING[0] * row)


@pytest.mark.parametrize("orientation", PLACES.values(), ids=PLACES)
def test_slices_become_a_volume_that_lies_where_their_headers_say(tmp_path, orientation):
    stored = stack(tmp_path / "deep" / "er", orientation=orientation, sop_class=CT, RescaleSlope=2, RescaleIntercept=-7)
    found = find_series(tmp_path)
    (series,) = found.series
    assert (series.modality, series.spatial_dims, len(series.files), found.set_aside) == ("CT", 3, 4, ())
    volume = read_channels(series.source)
    assert volume.shape == (1, 5, 6, 4)
    np.testing.assert_array_equal(volume[0].numpy().transpose(2, 1, 0), 2.0 * stored - 7)
    np.testing.assert_allclose(volume.meta["file_affine"], series.affine)
    for voxel in [(0, 0, 0), (4, 1, 3), (2, 5, 1)]:
        expected = by_hand(*voxel, orientation)
        np.testing.assert_allclose((series.affine @ [*voxel, 1])[:3], expected, atol=1e-5)
    np.testing.assert_array_equal(read_volume(series.source, scale=False), volume)
    folder = read_channels(tmp_path / "deep" / "er")  # the reader without pydicom
    np.testing.assert_array_equal(folder, volume)
    np.testing.assert_allclose(folder.meta["file_affine"], series.affine, atol=1e-5)


def test_two_series_and_two_studies_in_one_folder(tmp_path):
    first = stack(tmp_path)
    second = stack(tmp_path, first=50, SeriesInstanceUID="1.2.3", SeriesDescription="T2")
    third = stack(tmp_path, first=90, StudyInstanceUID="1.2.4")
    found = {(series.study_uid, series.series_uid): series for series in find_series(tmp_path).series}
    assert len(found) == 3
    values = [read_channels(series.source)[0].numpy().transpose(2, 1, 0) for series in found.values()]
    for expected, value in zip((first, second, third), values, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert [series.description for series in found.values()] == ["", "T2", ""]


@pytest.mark.parametrize("stated", [True, False])
def test_echoes_at_one_place_become_a_volume_each(tmp_path, stated):
    values = [{"EchoTime": echo} if stated else {} for echo in (30, 80)]
    stored = [stack(tmp_path, first=first, **echo) for first, echo in zip((0, 50), values, strict=True)]
    series = find_series(tmp_path).series
    assert [read_channels(part.source)[0].numpy().transpose(2, 1, 0).tolist() for part in series] == [
        part.tolist() for part in stored
    ]
    words = ["EchoTime 30", "EchoTime 80"] if stated else ["instances, 1 of 2", "instances, 2 of 2"]
    assert all(word in part.description for word, part in zip(words, series, strict=True))


def test_orientations_of_a_survey_are_stacks_of_their_own(tmp_path):
    for number, name in enumerate(("axial", "coronal")):
        stack(tmp_path, 3, PLACES[name], first=10 * number)
    stack(tmp_path, 1, PLACES["sagittal"], first=30)
    series = find_series(tmp_path).series
    assert [(part.spatial_dims, len(part.files), part.description) for part in series] == [
        (3, 3, "[stack 1 of 3]"),
        (3, 3, "[stack 2 of 3]"),
        (2, 1, "[stack 3 of 3]"),
    ]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"count": 6, "skip": (2,)}, "4 to 8 mm apart"),
        ({"step": (0.0, 1.5, 4.0)}, r"leans by 20\.6 degrees .*gantry tilt"),
        ({"step": (0.0, 0.0, 0.0)}, "several slices at one place"),
    ],
    ids=["missing", "tilt", "one-place"],
)
def test_what_makes_no_right_volume_is_set_aside_with_the_reason(tmp_path, case, words):
    stack(tmp_path, **case)
    found = find_series(tmp_path)
    assert found.series == ()
    assert len(found.set_aside) == len(list(tmp_path.iterdir()))
    for item in found.set_aside:
        assert re.search(words, item.reason)


def test_the_reader_of_folders_refuses_the_same(tmp_path):
    stack(tmp_path / "gap", 6, skip=(2,))
    stack(tmp_path / "tilt", step=(0.0, 1.5, 4.0))
    with pytest.raises(ImageReadError, match=r"gap: slices are 4 to 8 mm apart"):
        read_channels(tmp_path / "gap")
    with pytest.raises(ImageReadError, match=r"tilt: the stack leans by 20\.6 degrees"):
        read_volume(tmp_path / "tilt")


def test_a_file_twice_and_a_slice_twice(tmp_path):
    stored = stack(tmp_path)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "0001.dcm").read_bytes())
    place = {"ImagePositionPatient": [10, -20, 30 + 4 * 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    save(tmp_path / "again.dcm", stored[3], InstanceNumber=9, PixelSpacing=[2, 3], **place)
    found = find_series(tmp_path)
    (series,) = found.series
    np.testing.assert_array_equal(read_channels(series.source)[0].numpy().transpose(2, 1, 0), stored)
    assert sorted(reasons(found)) == ["again.dcm", "copy.dcm"]
    assert "same instance" in reasons(found)["copy.dcm"]
    assert "same slice (place and pixels)" in reasons(found)["again.dcm"]


def test_another_picture_at_the_place_of_a_slice_makes_no_volume(tmp_path):
    stored = stack(tmp_path)
    place = {"ImagePositionPatient": [10, -20, 42], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    save(tmp_path / "other.dcm", stored[0], InstanceNumber=9, PixelSpacing=[2, 3], **place)
    found = find_series(tmp_path)
    assert found.series == ()
    assert all("several slices at one place" in reason for reason in reasons(found).values())


def test_slices_without_a_place(tmp_path):
    stack(tmp_path / "some")
    save(tmp_path / "some" / "lost.dcm", np.zeros((6, 5), np.int16), InstanceNumber=1, PixelSpacing=[2, 3])
    found = find_series(tmp_path / "some")
    assert [series.spatial_dims for series in found.series] == [3]
    assert reasons(found) == {"lost.dcm": "no valid position, orientation or pixel spacing"}
    stack(tmp_path / "all", ImageOrientationPatient=None)
    (series,) = find_series(tmp_path / "all").series
    assert (series.spatial_dims, series.affine, len(series.pictures)) == (2, None, 4)
    assert "no place in space" in series.description
    with pytest.raises(ValueError, match="holds pictures, not a volume"):
        series.source  # noqa: B018


def test_what_is_no_image_is_named(tmp_path):
    pixels = np.zeros((6, 5), np.int16)
    save(tmp_path / "empty.dcm", None)
    save(tmp_path / "no_pixels.dcm", pixels, PixelData=None)
    save(tmp_path / "report.dcm", None, "1.2.840.10008.5.1.4.1.1.88.11")
    save(tmp_path / "seg.dcm", pixels, "1.2.840.10008.5.1.4.1.1.66.4")
    save(tmp_path / "scout.dcm", pixels, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save(tmp_path / "video.dcm", pixels, syntax="1.2.840.10008.1.2.4.102")
    save(tmp_path / "unknown.dcm", pixels, syntax="1.2.3.4")
    whole = save(tmp_path / "cut.dcm", pixels).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-20])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "nothing.dcm").write_bytes(b"")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 200)
    found = find_series(tmp_path)
    assert found.series == ()
    words = {
        "empty.dcm": "holds no pixels",
        "no_pixels.dcm": "holds no pixels",
        "report.dcm": "DICOM structured report",
        "seg.dcm": "DICOM segmentation",
        "scout.dcm": "localizer",
        "video.dcm": "MPEG-4 AVC",
        "unknown.dcm": "1.2.3.4",
        "cut.dcm": "truncated",
        "notes.txt": "no DICOM file",
        "nothing.dcm": "empty",
    }
    said = reasons(found)
    assert said.keys() == words.keys()
    assert {name: word for name, word in words.items() if word not in said[name]} == {}


def test_one_damaged_file_among_many_is_set_aside_and_nothing_is_said_of_patients(tmp_path, caplog):
    stored = stack(tmp_path, 500, PatientName="Doe^Jane", PatientID="ID-4711")
    damaged = tmp_path / "0100.dcm"
    damaged.write_bytes(damaged.read_bytes()[:300])
    with caplog.at_level(logging.DEBUG):
        found = find_series(tmp_path)
    assert "0100.dcm" in reasons(found)
    assert "4 to 8 mm apart" in reasons(found)["0250.dcm"]  # its slice is missing now
    damaged.unlink()
    save(tmp_path / "other.dcm", stored[0], SeriesInstanceUID="1.2.9").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 99)
    stack(tmp_path, 500, PatientName="Doe^Jane", PatientID="ID-4711")
    found = find_series(tmp_path)
    assert [len(series.files) for series in found.series] == [500]
    assert list(reasons(found)) == ["other.dcm"]
    text = caplog.text + repr([(series.description, series.files) for series in found.series]) + repr(found.set_aside)
    assert "Doe" not in text
    assert "ID-4711" not in text


def test_cine_and_pictures(tmp_path):
    frames = np.arange(3 * 6 * 5, dtype=np.uint8).reshape(3, 6, 5)
    save(tmp_path / "cine.dcm", frames, ULTRASOUND)
    (series,) = find_series(tmp_path).series
    assert (series.spatial_dims, series.instances[0].frames) == (2, 3)
    pictures = [LoadImage2D(channels=1, scale=False)(picture) for picture in series.pictures]
    np.testing.assert_array_equal(np.concatenate(pictures), frames)
    with pytest.raises(ImageReadError, match=r"frames/7: the file holds 3 frame\(s\)"):
        LoadImage2D()(f"{tmp_path / 'cine.dcm'}/frames/7")


def test_an_enhanced_file_is_a_volume_in_the_order_of_its_functional_groups(tmp_path):
    stored = np.random.default_rng(0).integers(0, 999, (4, 6, 5), dtype=np.uint16)
    order = [2, 0, 3, 1]
    path = enhanced(tmp_path / "mr.dcm", stored, order)
    (series,) = find_series(tmp_path).series
    assert (series.spatial_dims, series.frames) == (3, (1, 3, 0, 2))
    for volume in (read_channels(series.source), read_channels(path), read_volume(path, scale=False)):
        np.testing.assert_array_equal(volume[0].numpy().transpose(2, 1, 0), stored[[1, 3, 0, 2]])
        np.testing.assert_allclose(volume.affine.numpy() @ [1, 2, 3, 1], [*by_hand(1, 2, 3, PLACES["axial"]), 1])


def test_two_echoes_of_an_enhanced_file_are_two_volumes(tmp_path):
    stored = np.random.default_rng(0).integers(0, 999, (6, 6, 5), dtype=np.uint16)
    path = enhanced(tmp_path / "mr.dcm", stored, [0, 0, 1, 1, 2, 2], echo=[30, 80] * 3)
    series = find_series(tmp_path).series
    assert [part.frames for part in series] == [(0, 2, 4), (1, 3, 5)]
    assert [part.description for part in series] == ["[EffectiveEchoTime 30.0]", "[EffectiveEchoTime 80.0]"]
    np.testing.assert_array_equal(read_channels(series[1].source)[0].numpy().transpose(2, 1, 0), stored[1::2])
    with pytest.raises(ImageReadError, match=r"mr.dcm: holds 2 volumes"):
        read_channels(path)


def test_a_missing_frame_is_named(tmp_path):
    enhanced(tmp_path / "mr.dcm", np.zeros((4, 6, 5), np.uint16), [0, 1, 3, 4])
    found = find_series(tmp_path)
    assert found.series == ()
    assert "frames 0, 1, 2, 3 make no volume: slices are 4 to 8 mm apart" in reasons(found)["mr.dcm"]


def test_values_are_measured_whatever_the_way_to_display_them(tmp_path):
    stored = stack(tmp_path, PhotometricInterpretation="MONOCHROME1", BitsStored=16)
    (series,) = find_series(tmp_path).series
    for source in (series.source, tmp_path):
        np.testing.assert_array_equal(read_channels(source)[0].numpy().transpose(2, 1, 0), stored)


def test_a_slice_gone_or_of_colors_is_named(tmp_path):
    stack(tmp_path)
    (series,) = find_series(tmp_path).series
    series.files[2].unlink()
    with pytest.raises(FileNotFoundError, match=rf"{series.files[2].name}: no such file; 1 of 4"):
        read_channels(series.source)
    save(series.files[2], np.zeros((7, 5), np.int16), MR)
    with pytest.raises(ImageReadError, match=rf"{series.files[2].name}: a slice of another size"):
        read_channels(series.source)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"PixelSpacing": [0.5, 0.25], "ImagerPixelSpacing": [1, 1]}, ((0.5, 0.25), "PixelSpacing")),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, ((0.2, 0.1), "ImagerPixelSpacing")),
        ({"NominalScannedPixelSpacing": [0.3, 0.4]}, ((0.3, 0.4), "NominalScannedPixelSpacing")),
        ({"PixelSpacing": [0, 0]}, None),
        ({}, None),
    ],
)
def test_size_of_pixels(tmp_path, values, expected):
    save(tmp_path / "x.dcm", np.zeros((6, 5), np.uint8), ULTRASOUND, **values)
    (series,) = find_series(tmp_path).series
    size = pixel_size(series.instances[0].header)
    assert (size and (size.mm, size.source)) == expected


def test_size_of_pixels_by_the_region_of_an_ultrasound_picture(tmp_path):
    from pydicom import Dataset

    region = Dataset()
    region.RegionSpatialFormat, region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 1, 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    path = tmp_path / "x.dcm"
    save(path, np.zeros((6, 5), np.uint8), ULTRASOUND, SequenceOfUltrasoundRegions=[region])
    size = pixel_size(find_series(path).series[0].instances[0].header)
    np.testing.assert_allclose(size.mm, (0.3, 0.2))
    assert size.source == "SequenceOfUltrasoundRegions"
    other = deepcopy(region)
    other.PhysicalDeltaX = 0.05
    save(path, np.zeros((6, 5), np.uint8), ULTRASOUND, SequenceOfUltrasoundRegions=[region, other])
    assert pixel_size(find_series(path).series[0].instances[0].header) is None


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_series(tmp_path / "none")


def test_pixels_in_an_unknown_encoding_and_of_a_wrong_photometric_interpretation_are_errors(tmp_path):
    pixels = np.zeros((6, 5), np.uint8)
    unknown = save(tmp_path / "unknown.dcm", pixels, ULTRASOUND, syntax="1.2.3.4")
    wrong = save(tmp_path / "wrong.dcm", pixels, ULTRASOUND, PhotometricInterpretation="RGB")
    for path in (unknown, wrong):
        with pytest.raises(ImageReadError, match=path.name):
            LoadImage2D()(path)


def test_a_pipe_and_links_in_a_circle(tmp_path):
    """Opened, a pipe waits for somebody to write."""
    stack(tmp_path / "elsewhere")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "twice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.dcm")
    found = find_series(folder)
    assert [(series.spatial_dims, len(series.files)) for series in found.series] == [(3, 4)]
    assert reasons(found) == {"pipe.dcm": "a pipe, a socket or a device, no file"}
    with pytest.raises(ValueError, match="no folder and no file"):
        find_series(folder / "pipe.dcm")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """As its owner sees it: the tests may run as root, whom nothing is closed to."""
    stack(tmp_path)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def as_others_see_it(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", as_others_see_it)
    (aside,) = find_series(tmp_path).set_aside
    assert aside.lost and aside.path.name == "closed" and "cannot be listed (Permission denied)" in aside.reason


def test_the_index_of_a_medium_is_no_input(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(ValueError, match="give its folder"):
        find_series(tmp_path / "DICOMDIR")


def test_two_images_with_one_identifier_are_no_copies(tmp_path):
    one, other = np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8)
    uid = "1.2.3.4"
    save(tmp_path / "a.dcm", one, ULTRASOUND, SOPInstanceUID=uid)
    save(tmp_path / "b.dcm", other, ULTRASOUND, SOPInstanceUID=uid)
    save(tmp_path / "c.dcm", one, ULTRASOUND, SOPInstanceUID=uid)
    lost = {aside.path.name: aside.lost for aside in find_series(tmp_path).set_aside}
    assert lost == {"b.dcm": True, "c.dcm": False}
    assert "with other content" in reasons(find_series(tmp_path))["b.dcm"]


def test_more_frames_than_there_are_bytes_and_no_rows(tmp_path):
    """Each frame becomes an address: two thousand million of them fill the memory."""
    frame = np.zeros((4, 5), np.uint8)
    save(tmp_path / "frames.dcm", frame, ULTRASOUND, "1.2.840.10008.1.2.4.50", NumberOfFrames=2_000_000_000)
    save(tmp_path / "rows.dcm", frame, ULTRASOUND, Rows=0)
    found = find_series(tmp_path)
    assert found.series == () and all(aside.lost for aside in found.set_aside)
    assert "fewer pixels" in reasons(found)["frames.dcm"] and "0 rows" in reasons(found)["rows.dcm"]


def test_damage_inside_of_sequences_and_of_the_encoding_stops_nothing(tmp_path):
    """Items of sequences are read only when they are used; an identifier with a backslash becomes two."""
    stored = np.zeros((3, 4, 5), np.uint16)
    stack(tmp_path)
    content = enhanced(tmp_path / "enhanced.dcm", stored, range(3), echo=[1, 1, 1]).read_bytes()
    place = content.index(b"\x18\x00\x82\x90FD")  # Effective Echo Time
    (tmp_path / "enhanced.dcm").write_bytes(content[: place + 4] + b"AQ" + content[place + 6 :])
    content = save(tmp_path / "syntax.dcm", stored[0], SOPInstanceUID="1.2.3").read_bytes()
    (tmp_path / "syntax.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.1", b"1.2.840.10008\\1.2.1"))
    found = find_series(tmp_path)
    assert [len(series.files) for series in found.series] == [4]
    assert set(reasons(found)) == {"enhanced.dcm", "syntax.dcm"} and all(aside.lost for aside in found.set_aside)
