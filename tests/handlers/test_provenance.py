"""What a run was made with, of small engines and of a bundle's run."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import socket

import pytest

from medssm_monai.handlers import MLflowTracker, Provenance, SegmentationReport
from medssm_monai.utils.versions import package_versions

from ..reports.page_checks import Page, checked
from ..tracking_stores import copied_tables
from .engines_for_tests import evaluator, trainer, write_images

FIELDS = {
    *("kind", "started", "code", "packages", "python", "platform", "hardware", "device", "scan_backend", "seeds"),
    *("data", "weights_sha256", "config_sha256", "config"),
}


@pytest.fixture(scope="module", autouse=True)
def quick_tracking_stores():
    with copied_tables():
        yield


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MEDSSM_FULL_NAMES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recorded(folder):
    return json.loads((folder / "provenance.json").read_text())


def test_an_evaluation_is_recorded_in_file_page_and_tracker(tmp_path):
    from mlflow.tracking import MlflowClient
    from monai.utils import path_to_sqlite_uri

    items = write_images(tmp_path / "PATIENT")
    weights = tmp_path / "PATIENT" / "model.pt"
    weights.write_bytes(b"weights")
    out = tmp_path / "out"
    made = Provenance(out / "run", "evaluation", {"test": items}, {"bootstrap": 0}, weights)
    report = SegmentationReport(out / "run", n_resamples=20, provenance=made)
    tracker = MLflowTracker(out, "tests", artifacts=[out / "run"], provenance=made)
    evaluator(items, [made, report, tracker]).run()

    found = recorded(out / "run")
    assert found.keys() == FIELDS
    assert found["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert found["seeds"] == {"bootstrap": 0} and found["python"] == platform.python_version()
    assert found["data"]["items"] == {"test": 6} and found["data"]["files"] == 12
    assert found["packages"]["torch"] == package_versions()["torch"]
    assert found["hardware"]["cores"] >= 1 and found["device"] == "cpu" and found["scan_backend"]
    text = (out / "run" / "provenance.json").read_text()
    for word in (str(tmp_path), "PATIENT", socket.gethostname(), f"/{getpass.getuser()}"):
        assert word not in text

    page = checked(out / "run" / "report.html")
    assert f"SHA-256 {found['data']['sha256']}" in page.text and f"SHA-256 {found['weights_sha256']}" in page.text

    client = MlflowClient(path_to_sqlite_uri(out / "mlruns.db"))
    run = client.get_run(tracker.run_id)
    assert run.data.tags["data_sha256"] == found["data"]["sha256"]
    assert run.data.tags["weights_sha256"] == found["weights_sha256"]
    assert run.data.tags["scan_backend"] == found["scan_backend"]
    (logged,) = (out / "mlruns").rglob("report.html")
    kept = Page(logged.read_text())
    assert kept.wrong == [] and len(kept.pictures()) == 1 < len(page.pictures())  # the chart, and no patient
    assert list((out / "mlruns").rglob("provenance.json"))


def test_a_training_records_its_weights_and_keeps_what_an_earlier_start_recorded(tmp_path):
    items = write_images(tmp_path / "data")

    class Saves:
        def attach(self, engine):
            from ignite.engine import Events

            engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: (tmp_path / "run/model.pt").write_bytes(b"best"))

    for _ in range(2):
        made = Provenance(tmp_path / "run", "training", {"training": items}, {"training": 3})
        trainer(items, [made, Saves()], max_epochs=1).run()
    found = recorded(tmp_path / "run")
    assert found["written_weights_sha256"] == hashlib.sha256(b"best").hexdigest()
    assert found["weights_sha256"] is None and found["seeds"] == {"training": 3}
    assert made.tags()["written_weights_sha256"] == found["written_weights_sha256"]
    assert len(list((tmp_path / "run").glob("provenance_*.json"))) == 1


def test_data_need_not_be_digested(tmp_path):
    items = write_images(tmp_path / "data")
    made = Provenance(tmp_path, "evaluation", {"test": items}, fingerprint_data=False)
    assert made.record()["data"] == {"items": {"test": 6}, "of": "not digested (fingerprint_data is false)"}
    assert "not digested" in made.facts()["Data"] and "data_sha256" not in made.tags()
    with pytest.raises(ValueError, match="kind"):
        Provenance(tmp_path, "inference")
