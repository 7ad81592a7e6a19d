"""What MONAI Deploy's operator does, without the SDK: models found, series selected, results as the predictor's."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

import medssm_monai
from medssm_monai.apps.deploy.__main__ import main
from medssm_monai.apps.deploy.model import open_model
from medssm_monai.apps.deploy.studies import build_engine, run_studies
from medssm_monai.dicom.results import ResultOptions
from medssm_monai.export import ArchivePredictor

from ...bundle.tiny_bundles import MEDCONVMAMBA, copy_bundle
from ...dicom.objects import image, require_libraries, save, slices, turned
from ...export.test_archive import exported

require_libraries()
import pydicom  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny bundle for gray pictures, and its archive."""
    return exported(MEDCONVMAMBA, tmp_path_factory.mktemp("models"))


def xray(path, seed, **more):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 36), dtype=np.uint8)
    return save(image("DX", pixels, **more), path)


def probabilities(result):
    (plain,) = (file for file in result.files if file.suffix == ".json")
    return [one["probability"] for one in json.loads(plain.read_text())["measurements"]]


@pytest.mark.parametrize("archive", [False, True], ids=["bundle", "archive"])
def test_results_are_those_of_the_predictor(archive, models, tmp_path):
    file = xray(tmp_path / "in" / "a.dcm", 1)
    save_inverted(file, tmp_path / "in" / "b.dcm")
    results = run_studies(build_engine(models[archive]), tmp_path / "in", tmp_path / "out")
    expected = medssm_monai.load(models[0], device="cpu").predict(str(file)).probabilities
    assert len(results) == 2 and {one.state for one in results} == {"done"}
    for result in results:  # the second file is shown the other way round and stores it so
        found = probabilities(result)
        assert found == list(expected) if not archive else found == pytest.approx(list(expected), abs=1e-5)
    written = sorted(path.name.split("_")[0] for path in results[0].objects)
    assert written == (["report"] if archive else ["picture", "report"])
    again = run_studies(build_engine(models[archive]), tmp_path / "in", tmp_path / "out")
    assert {one.state for one in again} == {"done before"}


def save_inverted(file, path):
    made = pydicom.dcmread(file)
    made.PixelData = (255 - made.pixel_array).tobytes()
    made.PhotometricInterpretation = "MONOCHROME1"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    return save(made, path)


def test_only_selected_series_take_part(models, tmp_path):
    uids = [str(pydicom.dcmread(xray(tmp_path / "in" / f"{n}.dcm", n)).SeriesInstanceUID) for n in range(3)]
    engine = build_engine(models[0], uids[1:2])
    assert [one.series_uid for one in run_studies(engine, tmp_path / "in", tmp_path / "out")] == uids[1:2]
    reasons = {passed.series.series_uid: passed.reason for passed in engine.plan(tmp_path / "in").passed}
    assert reasons == {uids[0]: "not among the selected series", uids[2]: "not among the selected series"}
    with pytest.raises(ValueError, match=r"nothing in the input that medconvmamba takes: not among the selected"):
        run_studies(build_engine(models[0], []), tmp_path / "in", tmp_path / "none")


def test_what_is_asked_for_is_written(models, tmp_path):
    xray(tmp_path / "in" / "a.dcm", 1)
    engine = build_engine(models[1], options=ResultOptions(objects=("picture",)))
    with pytest.raises(RuntimeError, match="no layers to look into"):  # asked for, so no silent leaving out
        run_studies(engine, tmp_path / "in", tmp_path / "out")


def test_what_could_not_be_read_is_an_error_after_all_else_is_done(models, tmp_path):
    whole = xray(tmp_path / "in" / "Mueller_Anna.dcm", 1)
    cut = tmp_path / "in" / "Mueller_Berta.dcm"
    cut.write_bytes(xray(tmp_path / "other.dcm", 2).read_bytes()[:900])
    with pytest.raises(RuntimeError, match="1 of 1 predictions done") as raised:
        run_studies(build_engine(models[0]), tmp_path / "in", tmp_path / "out")
    assert "Mueller" not in str(raised.value)
    study = str(pydicom.dcmread(whole).StudyInstanceUID)
    assert len(list((tmp_path / "out" / study).glob("*/report_*.dcm"))) == 1


def test_a_study_of_another_kind_says_why(models, tmp_path):
    slices(tmp_path / "in", turned(10))
    with pytest.raises(ValueError, match="a volume; the network takes pictures"):
        run_studies(build_engine(models[0]), tmp_path / "in", tmp_path / "out")


def test_models_are_found_where_hosts_put_them(models, tmp_path):
    root, archive = models
    assert open_model(root).root == root
    packed = tmp_path / "models" / "anything"
    packed.mkdir(parents=True)
    shutil.copy(archive, packed / "model.ts")
    assert isinstance(open_model(tmp_path / "models"), ArchivePredictor)
    with pytest.raises(ValueError, match="holds its weights; name 'volume' when the bundle is exported"):
        open_model(packed, "volume")
    other = copy_bundle(MEDCONVMAMBA, tmp_path / "models")
    with pytest.raises(ValueError, match=r"several models in .*anything.*medconvmamba"):
        open_model(tmp_path / "models")
    named = open_model(other, "model")
    assert named.ckpt_path == str(other / "models" / "model.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no model in"):
        open_model(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no model"):
        open_model(tmp_path / "nowhere")


@pytest.mark.skipif(find_spec("holoscan") is not None, reason="MONAI Deploy's SDK is installed here")
def test_without_the_sdk_the_command_says_how_to_get_it(capsys):
    assert main(["-i", "a", "-o", "b", "-m", "c"]) == 2
    assert "pip install monai-deploy-app-sdk==4.0.0" in capsys.readouterr().err
