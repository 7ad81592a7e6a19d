"""Bundles inside MONAI Deploy's SDK: pictures as DICOM in, DICOM objects out, results those of the predictor.

Needs an environment with the SDK (docs/hosts.md); the variable MEDSSM_DEPLOY_PYTHON names its interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medssm_monai
from medssm_monai.export import export_bundle

from ..bundles.bundle_runs import REPOSITORY
from ..dicom.objects import image, save, slices, turned

PYTHON = os.environ.get("MEDSSM_DEPLOY_PYTHON", "")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not PYTHON,
        reason="MEDSSM_DEPLOY_PYTHON does not name the Python of an environment with MONAI Deploy's SDK: see "
        "docs/hosts.md, 'MONAI Deploy'",
    ),
]


def deploy(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The application, run as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [PYTHON, "-m", "medssm_monai.apps.deploy", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def skin(real_data, tmp_path_factory):
    """A photograph of a skin lesion as a DICOM file whose name is a patient's."""
    photograph = next(iter(sorted((real_data / "isic2017" / "ISIC-2017_Validation_Data").glob("*.jpg"))))
    pixels = np.asarray(Image.open(photograph).convert("RGB"))
    return save(image("XC", pixels), tmp_path_factory.mktemp("skin") / "Mueller_Anna.dcm")


@pytest.fixture(scope="module")
def xray(real_data, tmp_path_factory):
    radiograph = next(iter(sorted((real_data / "covid_xray" / "Normal").glob("*.png"))))
    pixels = np.asarray(Image.open(radiograph).convert("L"))
    return save(image("DX", pixels), tmp_path_factory.mktemp("xray") / "a.dcm")


def archive_of(bundle: str, folder: Path) -> Path:
    assert export_bundle(bundle, ["torchscript"], folder, repeats=0).passed
    return folder / "model.ts"


@pytest.mark.realdata
@pytest.mark.parametrize("archive", [False, True], ids=["bundle", "archive"])
def test_a_segmentation(archive, skin, tmp_path):
    import pydicom

    model = archive_of("mamba_mis", tmp_path / "model") if archive else REPOSITORY / "bundles" / "mamba_mis"
    done = deploy("-i", skin.parent, "-o", tmp_path / "out", "-m", model)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Mueller" not in done.stdout + done.stderr
    (seg,) = (tmp_path / "out").glob("*/*/seg_*.dcm")
    made = pydicom.dcmread(seg)
    expected = medssm_monai.load("mamba_mis", device="cpu").predict(str(skin))
    np.testing.assert_array_equal(made.pixel_array.reshape(expected.mask.shape), expected.mask)
    assert expected.mask.any()
    source = pydicom.dcmread(skin)
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID


@pytest.mark.realdata
def test_a_classification_of_the_series_that_rules_select(xray, tmp_path):
    import pydicom

    source = pydicom.dcmread(xray)
    (tmp_path / "in").mkdir()
    save(source, tmp_path / "in" / "a.dcm")
    slices(tmp_path / "in" / "other", turned(10), study=str(source.StudyInstanceUID))
    rules = {"selections": [{"name": "radiographs", "conditions": {"Modality": "DX"}}]}
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    model = REPOSITORY / "bundles" / "medconvmamba"
    words = ("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", model, "--rules", tmp_path / "rules.json")
    done = deploy(*words)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "not among the selected series" in done.stdout + done.stderr
    (plain,) = (tmp_path / "out").glob("*/*/report_*.json")
    found = {one["class"]: one["probability"] for one in json.loads(plain.read_text())["measurements"]}
    assert found == medssm_monai.load("medconvmamba", device="cpu").predict(str(xray)).by_class()
    assert len(list((tmp_path / "out").glob("*/*/picture_*.dcm"))) == 1


def test_a_study_that_the_network_does_not_take_is_an_error(tmp_path):
    slices(tmp_path / "in", turned(10))
    done = deploy("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", REPOSITORY / "bundles" / "medconvmamba")
    assert done.returncode == 2
    assert "there is nothing in the input that medconvmamba takes: a volume" in done.stderr
