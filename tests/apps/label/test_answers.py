"""What an answer of the server says of files: their names within studies and bundle, not where those lie."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from medssm_monai.apps.label.places import hide_places
from medssm_monai.apps.label.served import ServedModel
from medssm_monai.data import ImageReadError
from medssm_monai.utils import shown_names
from medssm_monai.utils.shown_names import remember_data

from ...bundle.tiny_bundles import MAMBA_MIS, copy_bundle

pytest.importorskip("fastapi")


@pytest.fixture
def errors(monkeypatch):
    """The module of the answers, with a stand-in for MONAI Label's exception."""
    for name in ("", ".interfaces", ".interfaces.exception"):
        monkeypatch.setitem(sys.modules, f"monailabel{name}", ModuleType(f"monailabel{name}"))
    sys.modules["monailabel.interfaces.exception"].MONAILabelException = type("M", (Exception,), {})
    monkeypatch.delitem(sys.modules, "medssm_monai.apps.label.errors", raising=False)
    monkeypatch.setattr(shown_names, "_folders", {})
    monkeypatch.delenv("MEDSSM_FULL_NAMES", raising=False)
    yield importlib.import_module("medssm_monai.apps.label.errors")
    sys.modules.pop("medssm_monai.apps.label.errors", None)


@pytest.mark.parametrize("error", [ValueError, ImageReadError, FileNotFoundError, RuntimeError])
def test_errors_name_files_from_the_studies_on(tmp_path, errors, error, caplog):
    studies = tmp_path / "PATIENT_MUELLER"
    studies.mkdir()
    remember_data(studies)
    with pytest.raises(Exception, match="mamba_mis: ") as raised, errors.as_http_error(400, "mamba_mis"):
        raise error(f"{studies}/a b.png: cannot be read")
    assert "a b.png: cannot be read" in raised.value.detail
    assert "PATIENT" not in raised.value.detail
    if error is not RuntimeError:  # whose traceback is in the log
        assert "PATIENT" not in caplog.text


@pytest.mark.parametrize("folder", ["link", "Doe, Jane", "uploads", "app"])
@pytest.mark.parametrize(("error", "status"), [(ValueError, 400), (FileNotFoundError, 400), (KeyError, 500)])
def test_an_answer_names_no_folder_of_the_server(tmp_path, monkeypatch, errors, error, status, folder):
    (tmp_path / "Doe, Jane").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "Doe, Jane")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "uploads"))
    hide_places(tmp_path / "link", tmp_path / "app")
    with pytest.raises(Exception, match="^m: |: m: ") as raised, errors.as_http_error(400, "m"):
        raise error(f"{tmp_path}/{folder}/sub/a.png: damaged, 1/2 of a/b")
    assert raised.value.status_code == status
    assert "sub/a.png: damaged, 1/2 of a/b" in raised.value.detail and str(tmp_path) not in raised.value.detail


@pytest.mark.parametrize("spoil", ["weights", "settings"])
def test_errors_of_the_weights_name_them_within_the_bundle(tmp_path, monkeypatch, errors, spoil):
    root = copy_bundle(MAMBA_MIS, tmp_path / "somewhere")
    (root / "models" / ("model.pt" if spoil == "weights" else "model.json")).write_bytes(b"{}")
    monkeypatch.setenv("MEDSSM_BUNDLES", str(root.parent))
    model = ServedModel("mamba_mis", device="cpu")
    if spoil == "settings":
        (root / "models" / "model.json").write_text('{"in_channels": 10000}')
    with pytest.raises(Exception, match="mamba_mis: ") as raised, errors.as_http_error(503, "mamba_mis"):
        model.predictor().network  # noqa: B018
    assert "models/model." in raised.value.detail
    assert str(tmp_path) not in raised.value.detail
