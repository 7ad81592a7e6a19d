"""Bad input to the fusion bundle: one clear error that names the files and the remedy, and nothing lost."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import DatalistError, ImageReadError

from .bundle_runs import CLINICAL_FMAMBA, failing

nib = pytest.importorskip("nibabel")
TRAIN = ("train.yaml",)
SETTINGS = {key: value for key, value in CLINICAL_FMAMBA.tiny.items() if "demo" not in key}


@pytest.fixture
def dataset(tmp_path, write_image):
    """Eight pairs of gray pictures."""
    for number in range(8):
        for source in ("MRI", "CT"):
            write_image(tmp_path / "data" / source / f"case {number}.png", 48, 40, "L", seed=number)
    return tmp_path / "data"


def save(values, path, mode=None):
    Image.fromarray(np.asarray(values, dtype=np.uint8), mode).save(path)


def train(tmp_path, dataset, **overrides):
    settings = {**SETTINGS, "dataset_dir": str(dataset), "sources": ["MRI", "CT"], **overrides}
    CLINICAL_FMAMBA.run(TRAIN, tmp_path, **settings)


@pytest.mark.parametrize(
    ("spoil", "kind", "named"),
    [
        (lambda d: (d / "CT" / "case 2.png").unlink(), DatalistError, r"case 2\.png.*none of CT"),
        (lambda d: shutil.rmtree(d / "CT"), DatalistError, "no folder 'CT'"),
        (lambda d: save(np.eye(40), d / "CT" / "case 3.png"), ValueError, r"case 3\.png.*no affine"),
        (lambda d: save(np.full((40, 48), 9), d / "MRI" / "case 1.png"), ValueError, r"case 1\.png is constant"),
        (lambda d: save(np.random.randint(0, 9, (40, 48, 3)), d / "CT" / "case 1.png"), ValueError, "a color image"),
        (lambda d: (d / "MRI" / "case 4.png").write_bytes(b"\x89PNG"), OSError, r"case 4\.png"),
    ],
    ids=["unpaired names", "missing folder", "other size", "constant image", "color for gray", "damaged file"],
)
def test_spoilt_pairs_are_named_and_the_earlier_model_is_kept(dataset, tmp_path, spoil, kind, named):
    spoil(dataset)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"an earlier model")
    with failing(kind, named):
        train(tmp_path, dataset)
    assert [path.read_bytes() for path in (tmp_path / "models").glob("model*.pt")] == [b"an earlier model"]


@pytest.mark.parametrize("channels", [[1, 1], [1, 3]])
def test_gray_beside_gray_stored_as_color_trains(dataset, tmp_path, channels):
    for number in range(0, 8, 2):
        path = dataset / "CT" / f"case {number}.png"
        Image.open(path).convert("RGB").save(path)
    train(tmp_path, dataset, channels=channels)
    assert (tmp_path / "models" / "model.pt").is_file()


def test_nifti_with_nan_or_four_axes_is_named(dataset, tmp_path):
    values = np.random.default_rng(0).random((48, 40, 1)).astype(np.float32)
    (dataset / "MRI" / "case 5.png").unlink()
    bad = {"NaN": np.where(values > 0.9, np.nan, values), "single slice": np.random.random((48, 40, 3, 2))}
    for message, array in bad.items():
        nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), dataset / "MRI" / "case 5.nii.gz")
        with failing((ValueError, ImageReadError), rf"case 5\.nii\.gz.*{message}"):
            train(tmp_path / message, dataset)


@pytest.mark.parametrize(
    ("shape", "shift", "kind", "named"),
    [
        ((30, 30, 1), 0, ImageReadError, "no volume"),
        ((30, 30, 20, 3), 0, ValueError, "4D file"),
        ((30, 30, 20), 500, ValueError, "do not overlap"),
    ],
    ids=["single slice", "4D", "no overlap"],
)
def test_volumes_that_cannot_be_fused_are_named(tmp_path, shape, shift, kind, named):
    affine = np.eye(4)
    for subject in range(3):
        for ending in ("_t1ce", "_flair"):
            affine[0, 3] = shift if ending == "_flair" else 0
            values = np.random.default_rng(subject).random(shape).astype(np.float32)
            folder = tmp_path / "data" / f"s{subject}"
            folder.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, affine), folder / f"s{subject}{ending}.nii.gz")
    settings = {key: SETTINGS[key] for key in ("network_args", "max_epochs", "device")}
    settings |= {"dataset_dir": str(tmp_path / "data"), "sources": ["_t1ce", "_flair"]}
    with failing(kind, named):
        CLINICAL_FMAMBA.run(("train.yaml", "volume.yaml"), tmp_path, **settings)
