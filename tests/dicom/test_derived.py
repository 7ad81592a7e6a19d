"""Fused images and key pictures: pixels, place and references."""

from __future__ import annotations

import numpy as np
import pytest
from monai.transforms import LoadImage

from medssm_monai.bundle.predictions import FusionPrediction
from medssm_monai.dicom import Deidentifier, derived, key_picture

from .objects import FACTS, frames, image, problems, require_libraries, save, series_of, slices, turned, volume_of

require_libraries()
import pydicom  # noqa: E402


@pytest.mark.parametrize("kind", ["MR", "CT"])
def test_slices_keep_their_place(kind, tmp_path):
    slices(tmp_path / "a", turned(20), kind)
    slices(tmp_path / "b", turned(20), "MR")
    series, other = series_of(tmp_path / "a"), series_of(tmp_path / "b")
    volume = volume_of(series)
    fused = (volume.numpy()[0] / float(volume.max())).astype(np.float32)
    made = derived.write(series, FusionPrediction("a", volume.meta, fused), tmp_path / "out", FACTS, others=[other])
    assert len(made) == 5 and len({pydicom.dcmread(path).SeriesInstanceUID for path in made}) == 1
    for path, instance in zip(made, series.instances, strict=True):
        assert problems(path) == []
        found, source = pydicom.dcmread(path), pydicom.dcmread(instance.path)
        values = found.pixel_array * found.RescaleSlope + found.RescaleIntercept
        np.testing.assert_allclose(values, source.pixel_array / float(volume.max()), atol=1e-5)
        assert found.SOPClassUID == source.SOPClassUID and found.ImageType[:2] == ["DERIVED", "SECONDARY"]
        np.testing.assert_allclose(found.ImagePositionPatient, source.ImagePositionPatient, atol=1e-5)
        np.testing.assert_allclose(found.ImageOrientationPatient, source.ImageOrientationPatient, atol=1e-7)
        assert found.FrameOfReferenceUID == source.FrameOfReferenceUID
        refers = [item.ReferencedSOPInstanceUID for item in found.SourceImageSequence]
        assert refers == [source.SOPInstanceUID, *(one.header.SOPInstanceUID for one in other.instances)]
        assert "of nobody" not in str(found) and FACTS.weights_sha256 in found.DerivationDescription
    again = LoadImage(image_only=True, reader="ITKReader")(tmp_path / "out")
    assert again.shape == (9, 12, 5) and float(again.max()) == pytest.approx(1, abs=1e-4)


def test_frames_become_slices(tmp_path):
    path = frames(tmp_path / "in", turned(10))
    series = series_of(path)
    volume = volume_of(series)
    fused = (volume.numpy()[0] / float(volume.max())).astype(np.float32)
    made = derived.write(series, FusionPrediction("a", volume.meta, fused), tmp_path / "out", FACTS)
    source = pydicom.dcmread(path)
    for one, frame in zip(made, series.frames, strict=True):
        found = pydicom.dcmread(one)
        assert problems(one) == []
        assert found.SourceImageSequence[0].ReferencedFrameNumber == frame + 1
        wanted = source.pixel_array[frame] / float(volume.max())
        np.testing.assert_allclose(found.pixel_array * found.RescaleSlope, wanted, atol=1e-5)


def color(tmp_path, kind="XC", **more):
    pixels = np.random.default_rng(3).integers(0, 255, (14, 11, 3), dtype=np.uint8)
    path = save(image(kind, pixels, **more), tmp_path / "in" / "one.dcm")
    return series_of(path), path, pixels


def test_color_is_a_secondary_capture(tmp_path):
    series, path, pixels = color(tmp_path)
    prediction = FusionPrediction(str(path), {}, (pixels / 255).astype(np.float32))
    (made,) = derived.write(series, prediction, tmp_path / "out", FACTS)
    found = pydicom.dcmread(made)
    np.testing.assert_array_equal(found.pixel_array, pixels)
    assert found.SOPClassUID.name == "Secondary Capture Image Storage" and problems(made) == []
    assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID


def test_gray_of_another_class(tmp_path):
    pixels = np.arange(14 * 11, dtype=np.uint8).reshape(14, 11)
    path = save(image("DX", pixels, PixelSpacing=["0.2", "0.3"], PatientOrientation=["L", "F"]), tmp_path / "x.dcm")
    (made,) = derived.write(
        series_of(path), FusionPrediction(str(path), {}, (pixels / 255).astype(np.float32)), tmp_path / "out", FACTS
    )
    found = pydicom.dcmread(made)
    np.testing.assert_allclose(found.pixel_array * found.RescaleSlope, pixels / 255, atol=1e-5)
    assert list(found.PixelSpacing) == [0.2, 0.3] and list(found.PatientOrientation) == ["L", "F"]
    assert problems(made) == []


def test_key_picture(tmp_path):
    series, path, pixels = color(tmp_path)
    (made,) = key_picture.write(series, pixels, tmp_path / "out", FACTS, what="explanation of nevus", source=str(path))
    found = pydicom.dcmread(made)
    np.testing.assert_array_equal(found.pixel_array, pixels)
    assert found.SeriesDescription == "mamba_mis explanation of nevus (not for diagnostic use)"
    assert found.PatientID == "ID-4711" and found.DeviceSerialNumber == FACTS.serial
    assert "of nobody" not in str(found) and problems(made) == []
    with pytest.raises(ValueError, match=r"\(rows, columns, 3\) uint8, got \(14, 11\)"):
        key_picture.write(series, pixels[..., 0], tmp_path / "out", FACTS, what="x")


def test_picture_of_a_volume_refers_to_all_slices(tmp_path):
    slices(tmp_path / "in", turned(5))
    series = series_of(tmp_path / "in")
    (made,) = key_picture.write(series, np.zeros((30, 40, 3), np.uint8), tmp_path / "out", FACTS, what="overlay")
    found = pydicom.dcmread(made)
    refers = [item.ReferencedSOPInstanceUID for item in found.SourceImageSequence]
    assert refers == [instance.header.SOPInstanceUID for instance in series.instances]
    assert "PixelSpacing" not in found and problems(made) == []


def test_names_burned_in_are_not_written_without_the_patient(tmp_path):
    hidden = Deidentifier(bytes(16))
    series, path, pixels = color(tmp_path, BurnedInAnnotation="YES")
    with pytest.raises(ValueError, match="burned in annotation"):
        key_picture.write(series, pixels, tmp_path / "out", FACTS, what="x", source=str(path), deidentify=hidden)
    with pytest.raises(ValueError, match="burned in annotation"):
        derived.write(
            series,
            FusionPrediction(str(path), {}, pixels / np.float32(255)),
            tmp_path / "out",
            FACTS,
            deidentify=hidden,
        )
    series, path, pixels = color(tmp_path / "b")
    (made,) = key_picture.write(series, pixels, tmp_path / "out", FACTS, what="x", source=str(path), deidentify=hidden)
    raw = made.read_bytes()
    assert not any(text.encode() in raw for text in ("Müller", "ID-4711", "19700102", "ACC-99", "20240304"))
    assert problems(made) == []


def test_other_sizes_are_refused(tmp_path):
    series, path, _ = color(tmp_path)
    with pytest.raises(ValueError, match="does not fit its source of 14 x 11"):
        derived.write(series, FusionPrediction(str(path), {}, np.zeros((5, 5), np.float32)), tmp_path / "out", FACTS)
