"""Objects about images of many makers: pydicom's own test files."""

from __future__ import annotations

import numpy as np
import pytest

from medssm_monai.bundle.predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
from medssm_monai.dicom import Deidentifier, derived, find_series, key_picture, report, segmentation

from .objects import FACTS, problems, require_libraries

require_libraries()
import pydicom  # noqa: E402
from pydicom.data import get_testdata_file  # noqa: E402

FILES = ("CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "examples_palette.dcm")


@pytest.mark.parametrize("hidden", [None, Deidentifier(b"a key of sixteen")])
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_object(name, hidden, tmp_path):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom has no test file {name}")
    (series,) = find_series(path).series
    rows, columns = series.instances[0].header.Rows, series.instances[0].header.Columns
    probability = np.zeros((rows, columns), np.float32)
    probability[3:9, 2:7] = 1
    segmented = SegmentationPrediction(path, {}, probability, 0.5, ("lesion",))
    classified = ClassificationPrediction(path, {}, np.array([0.25, 0.75]), ("benign", "malignant"))
    seg = segmentation.write(series, segmented, tmp_path, FACTS, deidentify=hidden)
    made = [
        *seg,
        report.write(series, segmented, tmp_path, FACTS, segmentation=seg[0], deidentify=hidden)[0],
        report.write(series, classified, tmp_path, FACTS, deidentify=hidden)[0],
        *derived.write(series, FusionPrediction(path, {}, probability), tmp_path, FACTS, deidentify=hidden),
        *key_picture.write(
            series, np.zeros((rows, columns, 3), np.uint8), tmp_path, FACTS, what="x", source=path, deidentify=hidden
        ),
    ]
    source = pydicom.dcmread(path)
    for one in made:
        assert problems(one) == []
        found = pydicom.dcmread(one)
        patient = source.PatientID if hidden is None else hidden.patient(source.PatientID)
        assert found.PatientID == patient
        assert "not for diagnostic use" in found.SeriesDescription
        assert found.SOPInstanceUID not in (source.SOPInstanceUID, "") and found.SeriesInstanceUID != series.series_uid
        assert not [element for element in found.iterall() if element.tag.is_private]
    assert len({pydicom.dcmread(one).SOPInstanceUID for one in made}) == len(made)
    np.testing.assert_array_equal(pydicom.dcmread(seg[0]).pixel_array.reshape(rows, columns), probability > 0)
