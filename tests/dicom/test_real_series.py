"""A real series of oblique MR slices: its volume lies where the headers of its slices say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medssm_monai.data.readers.channels import read_channels
from medssm_monai.dicom import find_series

from .builders import PYDICOM

SERIES = Path(os.environ.get("MEDSSM_DATA", "")) / "dicom_t1_series"
pytestmark = [
    PYDICOM,
    pytest.mark.realdata,
    pytest.mark.skipif(not SERIES.is_dir(), reason="MEDSSM_DATA names no folder with dicom_t1_series"),
]


def test_the_volume_is_the_slices_stacked_by_hand():
    import pydicom

    (series,) = find_series(SERIES).series
    volume = read_channels(series.source)
    slices = [pydicom.dcmread(path) for path in SERIES.glob("*.dcm")]
    row, column = np.split(np.asarray(slices[0].ImageOrientationPatient, float), 2)
    slices.sort(key=lambda part: np.asarray(part.ImagePositionPatient, float) @ np.cross(row, column))
    values = np.stack([part.pixel_array * float(part.get("RescaleSlope", 1)) for part in slices])
    values += float(slices[0].get("RescaleIntercept", 0))
    np.testing.assert_allclose(volume[0].numpy().transpose(2, 1, 0), values, rtol=1e-6)
    for number in (0, 17, len(slices) - 1):
        part = slices[number]
        corner = np.asarray(part.ImagePositionPatient, float) + row * part.PixelSpacing[1] * 10
        corner += column * part.PixelSpacing[0] * 20
        place = series.affine @ [10, 20, number, 1]
        np.testing.assert_allclose(place[:3], corner * [-1, -1, 1], atol=0.01)
