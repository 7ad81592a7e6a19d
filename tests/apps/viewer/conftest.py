"""Bundles with tiny seeded networks, and images for them."""

from __future__ import annotations

import tempfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ...bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, VOLUMES, copy_bundle

AFFINE = np.array([[-1.5, 0, 0, 40], [0, 1.2, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders of bundles, by name; ``volumes`` is the fusion in 3D."""
    folder = tmp_path_factory.mktemp("viewer_bundles")
    found = {one.bundle: copy_bundle(one, folder) for one in (MAMBA_MIS, MEDCONVMAMBA, CLINICAL_FMAMBA)}
    return {**found, "volumes": copy_bundle(VOLUMES, folder, name="volumes")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The private folder of a server."""
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    return private


@pytest.fixture
def photo(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def volume(tmp_path):
    """30 x 20 x 5 voxels, every slice another one."""
    values = np.random.default_rng(1).random((30, 20, 5), dtype=np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "volume.nii.gz")
    return tmp_path / "volume.nii.gz"
