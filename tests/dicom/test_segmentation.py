"""Segmentations as DICOM objects: every class on the pixels of the images that it was predicted for."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from medssm_monai.bundle.predictions import SegmentationPrediction
from medssm_monai.data.labels import LabelSet
from medssm_monai.data.readers.channels import read_channels
from medssm_monai.dicom import Deidentifier, find_series
from medssm_monai.dicom.planes import planes_of, to_planes
from medssm_monai.dicom.segmentation import write

from .objects import FACTS, frames, image, problems, require_libraries, save, series_of, slices, turned, volume_of

require_libraries()
import highdicom  # noqa: E402
import pydicom  # noqa: E402

AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
SAGITTAL = np.array([[0.0, 1, 0], [0, 0, -1]])
FLIPPED = np.array([[-1.0, 0, 0], [0, -1, 0]])
ORGANS = LabelSet.of({"liver": 1, "left kidney": 2, "tumor": 5})
REGIONS = LabelSet.of({"whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": 3})


def classes_of(values):
    """Class of a voxel by its value: 0 to 3."""
    return (values // 7).astype(int) % 4


def predicted(volume, labels=ORGANS):
    """A prediction that follows from the values of a volume."""
    number = classes_of(volume.numpy()[0])
    if labels.softmax:
        probability = np.stack([number == n for n in range(labels.out_channels)]).astype(np.float32)
    else:
        probability = np.stack([number > n for n in range(labels.out_channels)]).astype(np.float32)
    return SegmentationPrediction("folder", volume.meta, probability, 0.5, labels.names, labels=labels)


def read_back(path, sources, labels):
    """Masks by source image, ``(images, rows, columns, K)``, and the object."""
    made = highdicom.seg.segread(path)
    uids = [source.SOPInstanceUID for source in sources]
    missing = {"assert_missing_frames_are_empty": True}
    if len(sources) == 1 and "NumberOfFrames" in sources[0]:
        numbers = list(range(1, sources[0].NumberOfFrames + 1))
        return made.get_pixels_by_source_frame(uids[0], numbers, **missing), made
    return made.get_pixels_by_source_instance(uids, **missing), made


@pytest.mark.parametrize("kind", ["MR", "CT"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, FLIPPED, turned(20)])
def test_each_voxel_goes_back_to_its_pixel(orientation, reverse, kind, tmp_path):
    paths = slices(tmp_path / "in", orientation, kind, reverse=reverse)
    series = series_of(tmp_path / "in")
    volume = read_channels(tmp_path / "in")  # in ITK's order
    if kind == "CT":
        volume = volume + 1024
    (path,) = write(series, predicted(volume), tmp_path / "out", FACTS)
    sources = [pydicom.dcmread(one) for one in paths]
    wanted = classes_of(np.stack([source.pixel_array for source in sources]))
    masks, made = read_back(path, sources, ORGANS)
    assert len(np.unique(wanted)) == 4
    for number in range(3):
        np.testing.assert_array_equal(masks[..., number], wanted == number + 1)
    assert [made.get_segment_description(n).segment_label for n in (1, 2, 3)] == list(ORGANS.names)
    assert problems(path) == []


def test_frames_of_one_file(tmp_path):
    path = frames(tmp_path / "in", turned(10))
    series = series_of(path)
    volume = read_channels(series.source)
    (made,) = write(series, predicted(volume, REGIONS), tmp_path / "out", FACTS)
    source = pydicom.dcmread(path)
    masks, _ = read_back(made, [source], REGIONS)
    number = classes_of(source.pixel_array)
    for place in range(3):
        np.testing.assert_array_equal(masks[..., place], number > place)
    assert problems(made) == []
    assert "frame of nobody" not in str(pydicom.dcmread(made))


def test_real_series(real_data, tmp_path):
    folder = real_data / "dicom_t1_series"
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} among the real image sets")
    paths = sorted(folder.glob("*.dcm"))
    series = series_of(folder)
    volume = read_channels(series.source)
    labels = LabelSet.of({"gray matter": 1, "white matter": 2, "csf": 3})
    prediction = predicted(volume, labels)
    (path,) = write(series, prediction, tmp_path, FACTS)
    sources = [pydicom.dcmread(one) for one in paths]
    wanted = classes_of(np.stack([source.pixel_array for source in sources]))
    masks, made = read_back(path, sources, labels)
    for number in range(3):
        np.testing.assert_array_equal(masks[..., number], wanted == number + 1)
    assert made.get_segment_description(1).segmented_property_type.value == "389081007"
    assert problems(path) == []


def test_probabilities(tmp_path):
    paths = slices(tmp_path / "in", AXIAL)
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    labels = LabelSet.of({"lesion": "foreground"})
    probability = (volume.numpy()[0] / float(volume.max())).astype(np.float32)
    prediction = SegmentationPrediction("folder", volume.meta, probability, 0.5, ("lesion",), labels=labels)
    (path,) = write(series, prediction, tmp_path / "out", FACTS, fractional=True)
    sources = [pydicom.dcmread(one) for one in paths]
    got, made = read_back(path, sources, labels)
    wanted = np.stack([source.pixel_array for source in sources]) / float(volume.max())
    assert made.SegmentationFractionalType == "PROBABILITY"
    np.testing.assert_allclose(got[..., 0], wanted, atol=0.5 / 255 + 1e-6)
    assert problems(path) == []


def test_nothing_found_is_an_object_too(tmp_path):
    paths = slices(tmp_path / "in", AXIAL)
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    prediction = SegmentationPrediction("folder", volume.meta, np.zeros(volume.shape[1:], np.float32), 0.5, ("lesion",))
    (path,) = write(series, prediction, tmp_path / "out", FACTS)
    masks, _ = read_back(path, [pydicom.dcmread(one) for one in paths], prediction.labels)
    assert masks.shape[:3] == (5, 12, 9) and not masks.any()
    assert problems(path) == []


def dermoscopy(tmp_path, **more):
    pixels = np.random.default_rng(1).integers(0, 255, (14, 11, 3), dtype=np.uint8)
    return save(image("XC", pixels, ImageType=["ORIGINAL", "PRIMARY"], **more), tmp_path / "in" / "skin.dcm")


def picture_prediction(path, size=(14, 11), names=("lesion",)):
    probability = np.zeros(size, np.float32)
    probability[2:5, 3:9] = 0.9
    return SegmentationPrediction(str(path), {}, probability, 0.5, names)


@pytest.mark.parametrize("kind", ["XC", "ES", "DX"])
def test_pictures_without_a_place(kind, tmp_path):
    shape = (14, 11) if kind == "DX" else (14, 11, 3)
    path = save(image(kind, np.zeros(shape, np.uint8)), tmp_path / "in" / "one.dcm")
    prediction = picture_prediction(path)
    (made,) = write(series_of(path), prediction, tmp_path / "out", FACTS)
    found = highdicom.seg.segread(made)
    np.testing.assert_array_equal(found.pixel_array.reshape(14, 11), prediction.mask)
    source = pydicom.dcmread(path)
    frame = found.PerFrameFunctionalGroupsSequence[0]
    refer = frame.DerivationImageSequence[0].SourceImageSequence[0]
    assert refer.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "FrameOfReferenceUID" not in found
    assert problems(made) == []


def test_one_frame_of_a_film(tmp_path):
    pixels = np.zeros((3, 14, 11), np.uint8)
    path = save(image("USM", pixels, NumberOfFrames=3), tmp_path / "in" / "film.dcm")
    series = series_of(path)
    with pytest.raises(ValueError, match="3 frames, and the prediction does not say"):
        write(series, picture_prediction(path), tmp_path / "out", FACTS)
    (made,) = write(series, picture_prediction(series.pictures[1]), tmp_path / "out", FACTS)
    found = pydicom.dcmread(made)
    refer = found.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert refer.ReferencedFrameNumber == 2
    assert refer.ReferencedSOPClassUID == series.instances[0].header.SOPClassUID
    assert problems(made) == []


def test_stacks_of_one_file(tmp_path):
    path = frames(tmp_path / "in", AXIAL, stacks=2)
    found = find_series(path)
    assert len(found.series) == 2
    for number, series in enumerate(found.series):
        volume = read_channels(series.source)
        (made,) = write(series, predicted(volume), tmp_path / "out", FACTS)
        source = pydicom.dcmread(path)
        masks, _ = read_back(made, [source], ORGANS)
        wanted = classes_of(source.pixel_array)
        wanted[[n for n in range(8) if n // 4 != number]] = 0
        for place in range(3):
            np.testing.assert_array_equal(masks[..., place], wanted == place + 1)
        assert problems(made) == []


def test_one_slice_keeps_its_place(tmp_path):
    paths = slices(tmp_path / "in", turned(15), size=(1, 14, 11))
    (made,) = write(series_of(paths[0]), picture_prediction(paths[0]), tmp_path / "out", FACTS)
    found, source = pydicom.dcmread(made), pydicom.dcmread(paths[0])
    assert found.FrameOfReferenceUID == source.FrameOfReferenceUID
    placed = found.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    np.testing.assert_allclose(placed.ImagePositionPatient, source.ImagePositionPatient, atol=1e-5)
    assert problems(made) == []


def test_only_the_modules_of_patient_and_study_are_copied(tmp_path):
    path = dermoscopy(tmp_path)
    (made,) = write(series_of(path), picture_prediction(path), tmp_path / "out", FACTS)
    found, source = pydicom.dcmread(made), pydicom.dcmread(path)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber", "StudyDate"):
        assert found[keyword].value == source[keyword].value
    assert found.SeriesInstanceUID != source.SeriesInstanceUID
    assert "of nobody" not in str(found) and "Saint Nowhere" not in str(found) and b"of nobody" not in made.read_bytes()
    assert not [element for element in found.iterall() if element.tag.is_private]
    assert found.SeriesDescription.endswith("(not for diagnostic use)") and len(found.SeriesDescription) <= 64
    assert found.Manufacturer == "medssm-monai" and found.ManufacturerModelName == "mamba_mis"
    assert found.DeviceSerialNumber == "ab" * 8
    assert found.PatientName.family_name == "Müller"


def test_no_name_in_logs_and_warnings(tmp_path, caplog, recwarn):
    more = {"PatientName": "Onlyname", "ReferringPhysicianName": "Wholename", "PatientID": "ID" * 40}
    with pydicom.config.disable_value_validation():
        path = dermoscopy(tmp_path, PatientAge="old", **more)
    with caplog.at_level(logging.DEBUG):
        (made,) = write(series_of(path), picture_prediction(path), tmp_path / "out", FACTS)
    said = caplog.text + "".join(str(one.message) for one in recwarn)
    assert "without them: PatientAge, PatientID" in said
    assert not any(text in said for text in ("Onlyname", "Wholename", "IDID", "Müller", "ACC-99"))
    found = pydicom.dcmread(made)
    assert (found.PatientName, found.PatientID) == ("Onlyname", "") and "PatientAge" not in found


def test_settings_name_codes(tmp_path, caplog):
    path = dermoscopy(tmp_path)
    series, prediction = series_of(path), picture_prediction(path, names=("mole of ours",))
    with caplog.at_level(logging.WARNING):
        (made,) = write(series, prediction, tmp_path / "out", FACTS)
    assert "no code is known for the class 'mole of ours'" in caplog.text
    segment = pydicom.dcmread(made).SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    caplog.clear()
    lesion = ["52988006", "SCT", "Lesion"]
    abnormal = ["49755003", "SCT", "Morphologically Abnormal Structure"]
    codes = {"mole of ours": {"category": abnormal, "type": lesion, "anatomy": ["39937001", "SCT", "Skin"]}}
    (made,) = write(series, prediction, tmp_path / "out", FACTS, segments=codes)
    segment = pydicom.dcmread(made).SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
    assert segment.AnatomicRegionSequence[0].CodeValue == "39937001"
    assert "no code" not in caplog.text and problems(made) == []
    wrong = {"mole of ours": {"category": abnormal}, "nothing": codes["mole of ours"]}
    with pytest.raises(ValueError, match=r"'nothing' is no class; 'mole of ours' has"):
        write(series, prediction, tmp_path / "out", FACTS, segments=wrong)


def test_a_side_is_a_modifier(tmp_path):
    slices(tmp_path / "in", AXIAL)
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    (path,) = write(series, predicted(volume), tmp_path / "out", FACTS)
    kidney = pydicom.dcmread(path).SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
    assert kidney.CodeMeaning == "Kidney"
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    red, green, blue = ORGANS.colors[0]
    shown = highdicom.seg.segread(path).get_segment_description(1).RecommendedDisplayCIELabValue
    assert highdicom.color.CIELabColor.from_rgb(red, green, blue).value == tuple(shown)


def test_other_geometry_is_refused(tmp_path):
    slices(tmp_path / "in", AXIAL)
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    prediction = predicted(volume)
    moved = series.affine.copy()
    moved[0, 3] += 3
    other = SegmentationPrediction(
        "f", {"file_affine": moved}, prediction.probability, 0.5, ORGANS.names, labels=ORGANS
    )
    with pytest.raises(
        ValueError, match="image 1 of the series does not lie in the volume: its pixels lie 2.40 voxels"
    ):
        write(series, other, tmp_path / "out", FACTS)
    fewer = replace(series, instances=series.instances[:4])
    with pytest.raises(ValueError, match="5 slices does not fit the 4 images"):
        write(fewer, prediction, tmp_path / "out", FACTS)
    path = dermoscopy(tmp_path / "b")
    with pytest.raises(ValueError, match="9 x 9 pixels does not fit its picture of 14 x 11"):
        write(series_of(path), picture_prediction(path, (9, 9)), tmp_path / "out", FACTS)
    assert not (tmp_path / "out").exists()


def test_without_the_patient(tmp_path):
    paths = slices(tmp_path / "in", AXIAL)
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    hidden = Deidentifier(b"0123456789abcdef")
    (path,) = write(series, predicted(volume), tmp_path / "out", FACTS, deidentify=hidden)
    found, source = pydicom.dcmread(path), pydicom.dcmread(paths[0])
    raw = path.read_bytes()
    for text in ("Müller", "ID-4711", "19700102", "ACC-99", "20240304", "House", "Check", "054Y"):
        assert text.encode() not in raw
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert source[keyword].value.encode() not in raw
    assert found.StudyInstanceUID == hidden.uid(source.StudyInstanceUID)
    assert found.PatientIdentityRemoved == "YES" and found.PatientID not in ("", "ID-4711")
    refers = {e.value for e in found.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert {hidden.uid(one.header.SOPInstanceUID) for one in series.instances} <= refers
    assert problems(path) == []


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_any_order_of_axes_gives_the_same_planes(axes, flips, tmp_path):
    slices(tmp_path / "in", turned(25))
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    wanted = volume.numpy()[0].transpose(2, 1, 0)
    array, affine = volume.numpy()[0].transpose(axes), series.affine[:, [*axes, 3]].copy()
    for axis in flips:
        affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
        affine[:, axis] *= -1
        array = np.flip(array, axis)
    headers = [instance.header for instance in series.instances]
    np.testing.assert_array_equal(to_planes(array, affine, planes_of(headers)), wanted)


def test_a_name_of_no_class_in_a_long_series_name():
    described = FACTS.series("x" * 200)
    assert len(described) == 64 and described.endswith("(not for diagnostic use)")


@pytest.mark.parametrize("gone", ["SliceThickness", "FrameOfReferenceUID"])
def test_slices_that_lack_what_a_segmentation_states(gone, tmp_path):
    for path in slices(tmp_path / "in", turned(20)):
        header = pydicom.dcmread(path)
        del header[gone]
        header.save_as(path)
    series = series_of(tmp_path / "in")
    (path,) = write(series, predicted(read_channels(series.source)), tmp_path / "out", FACTS)
    assert problems(path) == []
    made = pydicom.dcmread(path)
    assert made.FrameOfReferenceUID
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert abs(float(measures.SliceThickness) - 3.0) < 1e-5


@pytest.mark.parametrize(
    "wrong",
    [
        {"ImageOrientationPatient": ["2", "0", "0", "0", "1", "0"]},
        {"PixelSpacing": ["0", "1"]},
        {"SliceThickness": None},
    ],
)
def test_a_slice_that_lies_nowhere_is_a_picture_without_a_place(wrong, tmp_path):
    (path,) = slices(tmp_path / "in", turned(20), size=(1, 14, 11))
    header = pydicom.dcmread(path)
    for keyword, value in wrong.items():
        setattr(header, keyword, value)
    header.save_as(path)
    (made,) = write(series_of(path), picture_prediction(path), tmp_path / "out", FACTS)
    assert problems(made) == [] and "FrameOfReferenceUID" not in pydicom.dcmread(made)


def test_probabilities_that_all_round_to_nothing(tmp_path, recwarn, caplog):
    path = dermoscopy(tmp_path)
    faint = SegmentationPrediction(str(path), {}, np.full((14, 11), 1e-4, np.float32), 0.5, ("lesion",))
    (made,) = write(series_of(path), faint, tmp_path / "out", FACTS, fractional=True)
    assert problems(made) == [] and not pydicom.dcmread(made).pixel_array.any()
    assert "empty image" not in caplog.text


def test_values_that_their_elements_may_not_have_are_left_out(tmp_path):
    path = dermoscopy(tmp_path, PatientID="A\\B", StudyDescription="x\ty")
    (made,) = write(series_of(path), picture_prediction(path), tmp_path / "out", FACTS)
    header = pydicom.dcmread(made)
    assert problems(made) == [] and header.PatientID == "" and "StudyDescription" not in header
