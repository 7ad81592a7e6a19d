"""Structured reports: codes, numbers and references, and the JSON file that says the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medssm_monai.bundle.predictions import ClassificationPrediction, SegmentationPrediction
from medssm_monai.data.labels import LabelSet
from medssm_monai.dicom import Deidentifier, segmentation
from medssm_monai.dicom.report import write

from .objects import FACTS, image, problems, require_libraries, save, series_of, slices, turned, volume_of

require_libraries()
import highdicom  # noqa: E402
import pydicom  # noqa: E402

LABELS = LabelSet.of({"liver": 1, "tumor": 2, "spleen": 3})


def groups_of(path):
    return highdicom.sr.srread(path).content.get_image_measurement_groups()


def volume_report(tmp_path, **more):
    slices(tmp_path / "in", turned(15))
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    values = volume.numpy()[0]
    number = np.where(values > 500, 2, np.where(values > 100, 1, 0))  # no spleen
    probability = np.stack([number == n for n in range(4)]).astype(np.float32)
    prediction = SegmentationPrediction("f", volume.meta, probability, 0.5, LABELS.names, labels=LABELS)
    (seg,) = segmentation.write(series, prediction, tmp_path / "out", FACTS, **more)
    report, plain = write(series, prediction, tmp_path / "out", FACTS, segmentation=seg, **more)
    return series, seg, report, plain, number


def test_volumes_of_classes(tmp_path):
    series, seg, report, plain, number = volume_report(tmp_path)
    assert problems(report) == []
    made = highdicom.sr.srread(report)
    found = made.content.get_volumetric_roi_measurement_groups()
    assert len(found) == 2
    voxel = 3.0 * 0.8 * 1.25 / 1000
    for group, place in zip(found, (1, 2), strict=True):
        (measurement,) = group.get_measurements()
        assert measurement.unit.value == "ml" and measurement.name.meaning == "Volume"
        assert measurement.value == pytest.approx((number == place).sum() * voxel, rel=1e-6)
        assert group.referenced_segment.referenced_sop_instance_uid == pydicom.dcmread(seg).SOPInstanceUID
    assert [group.finding_type.meaning for group in found] == ["Liver", "Neoplasm"]
    (empty,) = made.content.get_image_measurement_groups()
    assert empty.finding_type.meaning == "Spleen" and empty.get_measurements()[0].value == 0
    evidence = str(pydicom.dcmread(report).CurrentRequestedProcedureEvidenceSequence)
    assert all(instance.header.SOPInstanceUID in evidence for instance in series.instances)
    content = json.loads(plain.read_text())
    assert [one["volume"] for one in content["measurements"]] == pytest.approx(
        [(number == place).sum() * voxel for place in (1, 2, 3)]
    )
    assert content["model"]["weights SHA-256"] == FACTS.weights_sha256
    for text in ("Müller", "ID-4711", "19700102", "ACC-99", "House"):
        assert text not in plain.read_text()


def test_the_model_is_named(tmp_path):
    _, _, report, _, _ = volume_report(tmp_path)
    raw = report.read_bytes()
    assert FACTS.weights_sha256.encode() in raw and b"polyps in colonoscopy frames" in raw
    assert b"of nobody" not in raw
    found = pydicom.dcmread(report)
    assert found.SeriesDescription == "mamba_mis report (not for diagnostic use)"
    assert found.VerificationFlag == "UNVERIFIED" and found.PreliminaryFlag == "PRELIMINARY"


def picture(tmp_path, kind="XC", **more):
    path = save(image(kind, np.zeros((14, 11, 3), np.uint8), **more), tmp_path / "in" / "one.dcm")
    return series_of(path), path


def classified(path):
    probabilities = np.array([0.7, 0.2, 0.1])
    names = ("nevus", "melanoma", "keratosis")
    return ClassificationPrediction(str(path), {}, probabilities, names, unlike_training=("darker than any",))


def test_probabilities_of_classes(tmp_path):
    series, path = picture(tmp_path)
    report, plain = write(series, classified(path), tmp_path / "out", FACTS)
    assert problems(report) == []
    found = groups_of(report)
    assert [group.finding_type.meaning for group in found] == ["nevus", "melanoma", "keratosis"]
    assert [group.get_measurements()[0].value for group in found] == pytest.approx([0.7, 0.2, 0.1])
    assert {group.get_measurements()[0].unit.value for group in found} == {"1"}
    assert {group.get_measurements()[0].name.meaning for group in found} == {"Probability"}
    said = [group.get_qualitative_evaluations() for group in found]
    assert [len(one) for one in said] == [1, 0, 0] and said[0][0].value.meaning == "nevus"
    assert found[0].source_images[0].referenced_sop_instance_uid == series.instances[0].header.SOPInstanceUID
    content = json.loads(plain.read_text())
    assert content["most probable class"] == "nevus" and content["unlike training"] == ["darker than any"]
    assert [one["probability"] for one in content["measurements"]] == [0.7, 0.2, 0.1]


@pytest.mark.parametrize("spacing", [None, ["0.5", "0.25"]])
def test_areas(spacing, tmp_path):
    series, path = picture(tmp_path, **({} if spacing is None else {"PixelSpacing": spacing}))
    probability = np.zeros((14, 11), np.float32)
    probability[2:6, 1:9] = 1
    prediction = SegmentationPrediction(str(path), {}, probability, 0.5, ("lesion",))
    (seg,) = segmentation.write(series, prediction, tmp_path / "out", FACTS)
    report, plain = write(series, prediction, tmp_path / "out", FACTS, segmentation=seg)
    assert problems(report) == []
    (group,) = highdicom.sr.srread(report).content.get_planar_roi_measurement_groups()
    (measurement,) = group.get_measurements()
    unit, area = ("{pixels}", 32) if spacing is None else ("mm2", 4.0)
    assert (measurement.unit.value, measurement.value) == (unit, pytest.approx(area))
    assert json.loads(plain.read_text())["measurements"][0]["segment"] == 1


def test_without_the_patient(tmp_path):
    hidden = Deidentifier(bytes(range(32)))
    series, seg, report, plain, _ = volume_report(tmp_path, deidentify=hidden)
    assert problems(report) == []
    raw = report.read_bytes() + plain.read_bytes()
    for text in ("Müller", "ID-4711", "19700102", "ACC-99", "20240304", "House"):
        assert text.encode() not in raw
    for instance in series.instances:
        assert instance.header.SOPInstanceUID.encode() not in raw
        assert hidden.uid(instance.header.SOPInstanceUID).encode() in raw
    found = pydicom.dcmread(report)
    assert found.ContentDate == "19000101" and "InstanceCreationDate" not in found
    assert found.StudyInstanceUID == pydicom.dcmread(seg).StudyInstanceUID == hidden.uid(series.study_uid)


def test_a_segmentation_of_another_study_is_refused(tmp_path):
    _, seg, _, _, _ = volume_report(tmp_path)
    series, path = picture(tmp_path / "b")
    prediction = SegmentationPrediction(str(path), {}, np.ones((14, 11), np.float32), 0.5, ("lesion",))
    with pytest.raises(ValueError, match="is no segmentation of the study of these images"):
        write(series, prediction, tmp_path / "out", FACTS, segmentation=seg)


@pytest.mark.parametrize("key", [b"short", "text that is long enough"])
def test_a_key_is_bytes(key):
    with pytest.raises(ValueError, match="the key of a de-identification is 16 bytes or more"):
        Deidentifier(key)


def test_keys_give_other_identifiers():
    one, other = Deidentifier(b"1" * 16), Deidentifier(b"2" * 16)
    assert one.uid("1.2.3") == one.uid("1.2.3") != other.uid("1.2.3")
    assert one.uid("1.2.840.10008.5.1.4.1.1.4") == "1.2.840.10008.5.1.4.1.1.4"
    assert len(one.uid("1.2.3")) <= 64 and repr(one.key) not in repr(one)
