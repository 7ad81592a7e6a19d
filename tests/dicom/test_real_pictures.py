"""X-ray, dermoscopy and endoscopy objects, written here from real pictures, through weights that come with bundles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import medssm_monai
from medssm_monai.dicom.engine import StudyEngine

from .objects import image, problems, require_libraries, save

require_libraries()
import pydicom  # noqa: E402

pytestmark = pytest.mark.realdata
PICTURES = {  # class of object, bundle, where a real picture lies
    "X-ray": ("DX", "medconvmamba", "covid_xray/Normal/*.png"),
    "dermoscopy": ("XC", "mamba_mis", "isic2017/**/*.jpg"),
    "endoscopy": ("ES", "mamba_mis", "polyp_cvc_clinicdb/images/*.png"),
}


@pytest.fixture(params=PICTURES)
def written(request, real_data, tmp_path):
    """A bundle, a real picture as the array that it is, and the object that was written from it here."""
    kind, bundle, pattern = PICTURES[request.param]
    files = sorted(real_data.glob(pattern))
    if not files:
        pytest.skip(f"MEDSSM_DATA has no {pattern}")
    with Image.open(files[0]) as picture:
        pixels = np.asarray(picture.convert("L" if kind == "DX" else "RGB"))
    made = image(kind, pixels, SeriesDescription=f"written by a test from a public {request.param} picture")
    return bundle, pixels, save(made, tmp_path / "in" / "1.dcm")


def test_the_object_gives_what_the_picture_gives(written, tmp_path):
    bundle, pixels, path = written
    predictor = medssm_monai.load(bundle, ckpt_path="shipped", device="cpu")
    (result,) = StudyEngine(predictor).run(path.parent, tmp_path / "out")
    assert result.state == "done", result.reason
    assert [problems(file) for file in result.objects] == [[]] * len(result.objects)
    expected = predictor.predict(pixels)
    objects = {file.name.partition("_")[0]: pydicom.dcmread(file) for file in result.objects}
    source = pydicom.dcmread(path, stop_before_pixels=True)
    assert {(one.StudyInstanceUID, one.PatientID) for one in objects.values()} == {
        (source.StudyInstanceUID, source.PatientID)
    }
    assert all("not for diagnostic use" in one.SeriesDescription for one in objects.values())
    if predictor.kind == "segmentation":
        assert (objects["seg"].Rows, objects["seg"].Columns) == pixels.shape[:2]
        np.testing.assert_array_equal(objects["seg"].pixel_array.reshape(pixels.shape[:2]), expected.mask)
        reference = objects["seg"].ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    else:
        values = {
            group.ContentSequence[0].TextValue: measured
            for container in objects["report"].ContentSequence
            for group in container.get("ContentSequence", [])
            if group.ConceptNameCodeSequence[0].CodeMeaning == "Measurement Group"
            for measured in [_probability(group)]
        }
        assert values == pytest.approx(expected.by_class(), abs=1e-7)


def _probability(group: pydicom.Dataset) -> float:
    (item,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
    return float(item.MeasuredValueSequence[0].NumericValue)
