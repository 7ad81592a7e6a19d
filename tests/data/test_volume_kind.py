"""Volumes are told from pictures and slices without reading them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medssm_monai.data import ImageReadError
from medssm_monai.data.readers.volume import is_volume


@pytest.mark.parametrize(
    ("shape", "expected"), [((4, 5, 6), True), ((4, 5, 6, 2), True), ((4, 5, 1), False), ((4, 5), False)]
)
def test_nifti_by_its_axes(tmp_path, shape, expected):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "image.nii.gz")
    assert is_volume(tmp_path / "image.nii.gz") is expected


def test_other_files_and_folders(tmp_path):
    (tmp_path / "series").mkdir()
    assert is_volume(tmp_path / "series")
    assert not is_volume(tmp_path / "photo.png")
    (tmp_path / "broken.nii").write_bytes(b"broken")
    with pytest.raises(ImageReadError, match="broken.nii: cannot be read as NIfTI"):
        is_volume(tmp_path / "broken.nii")
