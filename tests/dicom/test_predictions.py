"""From a DICOM file through a network to DICOM objects."""

from __future__ import annotations

import json

import numpy as np

import medssm_monai
from medssm_monai.dicom import key_picture, model_facts, report, segmentation

from ..bundle.tiny_bundles import MAMBA_MIS, MEDCONVMAMBA, copy_bundle
from ..bundles.bundle_runs import MAMBA_MIS as MAMBA_MIS_RUNS
from ..bundles.class_sets import ONE, ClassSet
from .objects import image, problems, require_libraries, save, series_of, slices, turned, volume_of

require_libraries()
import pydicom  # noqa: E402

from .test_segmentation import FACTS, predicted  # noqa: E402


def skin(tmp_path):
    pixels = np.random.default_rng(5).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    return save(image("XC", pixels), tmp_path / "in" / "skin.dcm")


def test_a_segmentation_of_a_picture(tmp_path):
    path = skin(tmp_path)
    series = series_of(path)
    predictor = medssm_monai.load(copy_bundle(MAMBA_MIS, tmp_path), device="cpu")
    prediction, about = predictor.predict(series.pictures[0]), model_facts(predictor)
    (seg,) = segmentation.write(series, prediction, tmp_path / "out", about)
    made, plain = report.write(series, prediction, tmp_path / "out", about, segmentation=seg)
    np.testing.assert_array_equal(pydicom.dcmread(seg).pixel_array.reshape(40, 50), prediction.mask)
    assert problems(seg) == [] and problems(made) == []
    content = json.loads(plain.read_text())
    assert content["measurements"][0]["area"] == prediction.mask.sum()
    assert content["model"]["weights SHA-256"] == about.weights_sha256


def test_a_class_and_its_explanation(tmp_path):
    path = skin(tmp_path)
    series = series_of(path)
    predictor = medssm_monai.load(copy_bundle(MEDCONVMAMBA, tmp_path), device="cpu")
    prediction, about = predictor.predict(str(path)), model_facts(predictor)
    made, plain = report.write(series, prediction, tmp_path / "out", about)
    content = json.loads(plain.read_text())
    assert [one["probability"] for one in content["measurements"]] == list(prediction.probabilities)
    shown = predictor.explain(str(path)).overlay
    (picture,) = key_picture.write(
        series, np.asarray(shown, dtype=np.uint8), tmp_path / "out", about, what="explanation", source=str(path)
    )
    assert problems(made) == [] and problems(picture) == []


def test_channels_of_other_series_are_referred_to(tmp_path):
    slices(tmp_path / "a", turned(10))
    first = series_of(tmp_path / "a")
    header = first.instances[0].header
    slices(tmp_path / "b", turned(10), study=header.StudyInstanceUID)
    second = series_of(tmp_path / "b")
    (seg,) = segmentation.write(first, predicted(volume_of(first)), tmp_path / "out", FACTS, others=[second])
    text = str(pydicom.dcmread(seg).ReferencedSeriesSequence)
    assert all(one.header.SOPInstanceUID in text for series in (first, second) for one in series.instances)
    assert problems(seg) == []


def test_a_segmentation_of_a_sorted_series(tmp_path):
    """A network of volumes takes the slices in the order of their places, whatever their names are."""
    case = ClassSet("one class", 3, ONE)
    data = case.write(tmp_path / "data", count=4)
    MAMBA_MIS_RUNS.run(case.overlays, tmp_path / "out", dataset_dir=str(data), run_name="r", **case.tiny)
    slices(tmp_path / "a", turned(10))
    series = series_of(tmp_path / "a")
    predictor = medssm_monai.load(
        MAMBA_MIS_RUNS.folder, ckpt_path=tmp_path / "out" / "models" / "model.pt", device="cpu"
    )
    prediction = predictor.predict(series.source)
    assert prediction.label_map.shape == tuple(volume_of(series).shape[-3:])
    (seg,) = segmentation.write(series, prediction, tmp_path / "seg", model_facts(predictor))
    assert pydicom.dcmread(seg).pixel_array.sum() == prediction.mask.sum() > 0 and problems(seg) == []
