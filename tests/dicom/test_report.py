"""Structured reports: codes, numbers and references, and the JSON file that says the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medssm_monai.bundle.predictions import ClassificationPrediction, SegmentationPrediction
from medssm_monai.data.labels import LabelSet
from medssm_monai.dicom import Deidentifier, segmentation
from medssm_monai.dicom.report import write
from medssm_monai.metrics import RiskThresholds
from medssm_monai.metrics.conformal import PredictionSets

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


def said_of(made, name):
    """Values of the items with a concept name, at any depth."""
    found = []
    for item in made.get("ContentSequence", []):
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeValue == name:
            value = item.get("TextValue") or item.get("ConceptCodeSequence", [None])[0]
            found.append(value if isinstance(value, str) else getattr(value, "CodeMeaning", value))
        found += said_of(item, name)
    return found


@pytest.mark.parametrize(("threshold", "members"), [(0.85, ["nevus", "melanoma"]), (0.2, [])])
def test_prediction_sets(tmp_path, threshold, members):
    series, path = picture(tmp_path)
    prediction = replace(classified(path), sets=PredictionSets("lac", 0.9, threshold, 3))
    report, plain = write(series, prediction, tmp_path / "out", FACTS)
    assert problems(report) == []
    inside = ["Yes" if name in members else "No" for name in prediction.class_names]
    assert said_of(pydicom.dcmread(report), "INSET") == inside
    assert said_of(pydicom.dcmread(report), "CALIBRATED") == [prediction.calibrated["meaning"]]
    assert said_of(pydicom.dcmread(report), "PREDICTED") == ["nevus"]
    assert [group.get_measurements()[0].value for group in groups_of(report)] == pytest.approx([0.7, 0.2, 0.1])
    found = json.loads(plain.read_text())["calibrated"]
    assert found["prediction_set"] == members and found["coverage"] == 0.9 and "90 %" in found["meaning"]
    plain_report, _ = write(series, classified(path), tmp_path / "plain", FACTS)
    assert said_of(pydicom.dcmread(plain_report), "INSET") == said_of(pydicom.dcmread(plain_report), "CALIBRATED") == []


def test_masks_that_miss_little(tmp_path):
    series, path = picture(tmp_path, PixelSpacing=["0.5", "0.25"])
    probability = np.zeros((14, 11), np.float32)
    probability[2:6, 1:9], probability[6, 1:9] = 1, 0.3
    risk = RiskThresholds(0.9, {"lesion": 0.25})
    prediction = SegmentationPrediction(str(path), {}, probability, 0.5, ("lesion",), risk=risk)
    (seg,) = segmentation.write(series, prediction, tmp_path / "out", FACTS)
    report, plain = write(series, prediction, tmp_path / "out", FACTS, segmentation=seg)
    assert problems(report) == []
    (group,) = highdicom.sr.srread(report).content.get_planar_roi_measurement_groups()
    area, controlled = group.get_measurements()
    assert (area.name.meaning, area.value) == ("Area", pytest.approx(4.0))
    assert (controlled.name.value, controlled.unit.value) == ("CONTROLLEDAREA", "mm2")
    assert controlled.value == pytest.approx(prediction.controlled_mask().sum() * 0.125) == pytest.approx(5.0)
    assert "at most 10 %" in said_of(pydicom.dcmread(report), "CALIBRATED")[0]
    content = json.loads(plain.read_text())
    assert content["measurements"][0]["area that misses little"] == pytest.approx(5.0)
    assert content["calibrated"]["masks"]["lesion"] == {"threshold": 0.25, "pixels": 40, "share": 40 / 154}
    np.testing.assert_array_equal(pydicom.dcmread(seg).pixel_array.reshape(14, 11), prediction.mask)


def test_volumes_that_miss_little(tmp_path):
    slices(tmp_path / "in", turned(15))
    series = series_of(tmp_path / "in")
    volume = volume_of(series)
    probability = (volume.numpy()[0] / float(volume.max())).astype(np.float32)
    risk = RiskThresholds(0.95, {"liver": 0.25})
    prediction = SegmentationPrediction("f", volume.meta, probability, 0.5, ("liver",), risk=risk)
    (seg,) = segmentation.write(series, prediction, tmp_path / "out", FACTS)
    report, _ = write(series, prediction, tmp_path / "out", FACTS, segmentation=seg)
    assert problems(report) == []
    (group,) = highdicom.sr.srread(report).content.get_volumetric_roi_measurement_groups()
    plain, controlled = group.get_measurements()
    voxel = 3.0 * 0.8 * 1.25 / 1000
    assert plain.value == pytest.approx((probability >= 0.5).sum() * voxel, rel=1e-6)
    assert (controlled.name.value, controlled.unit.value) == ("CONTROLLEDVOLUME", "ml")
    assert controlled.value == pytest.approx((probability > 0.25).sum() * voxel, rel=1e-6)


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
