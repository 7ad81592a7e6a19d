"""One environment for MONAI Label and DICOM: pydicom 3, highdicom, and MONAI Label's own conversions."""

from __future__ import annotations

import subprocess

import pytest

from ..bundles.bundle_runs import REPOSITORY
from .environments import own_variables
from .label_server import label_python

pytestmark = pytest.mark.integration
DICOM_TESTS = ("test_find_series.py", "test_segmentation.py")
ROUND_TRIP = """
import sys
from pathlib import Path
import medssm_monai.apps.label  # as the server does, before MONAI Label
import nibabel, numpy, pydicom, SimpleITK
from monailabel.datastore.utils.convert import dicom_seg_to_itk_image, dicom_to_nifti, nifti_to_dicom_seg
from tests.dicom.objects import slices, turned

place = Path(sys.argv[1])
slices(place / "ct", turned(0), kind="CT", size=(5, 12, 9), spacing=(3.0, 1.0, 1.0))
volume = nibabel.load(dicom_to_nifti(str(place / "ct")))
mask = numpy.zeros(volume.shape, numpy.uint8)
mask[2:5, 3:7, 1:3] = 1
nibabel.save(nibabel.Nifti1Image(mask, volume.affine), place / "label.nii.gz")
seg = nifti_to_dicom_seg(str(place / "ct"), str(place / "label.nii.gz"), [{"name": "spleen"}], use_itk=False)
stored = pydicom.dcmread(seg)
back = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(dicom_seg_to_itk_image(seg)))
print(pydicom.__version__.split(".")[0], stored.Modality, volume.shape, int(mask.sum()), int(stored.pixel_array.sum()))
numpy.testing.assert_array_equal(back, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(place / "label.nii.gz"))))
"""


def in_label_environment(*words, **variables):
    return subprocess.run(
        [str(label_python()), *map(str, words)],
        cwd=REPOSITORY,
        env=own_variables(PYTHONPATH=str(REPOSITORY), **variables),
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_dicom_code_works_where_monai_label_does():
    files = [REPOSITORY / "tests" / "dicom" / name for name in DICOM_TESTS]
    done = in_label_environment("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-4000:]


def test_monai_label_converts_dicom_with_the_same_pydicom(tmp_path):
    done = in_label_environment("-c", ROUND_TRIP, tmp_path, TMPDIR=str(tmp_path))  # its temporary files stay behind
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "3 SEG (9, 12, 5) 24 24"
