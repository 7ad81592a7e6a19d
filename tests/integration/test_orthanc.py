"""Orthanc itself, over the loopback interface: images in by C-STORE and DICOMweb, results back in their studies.

Nothing is lost and nothing is there twice, whoever is killed.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

pydicom = pytest.importorskip("pydicom", reason='pydicom is not installed; pip install "medssm-monai[dicom]"')
pytest.importorskip("highdicom", reason='highdicom is not installed; pip install "medssm-monai[dicom]"')

from ..dicom.objects import image  # noqa: E402
from ..waiting import wait_for  # noqa: E402
from .orthanc_server import Served, end, missing  # noqa: E402

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
PATIENT = ("ller^Anna", "ID-4711", "19700102", "ACC-99", "House^Gregory", "Saint Nowhere")
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as running:
        yield running


class Sender:
    """Writes studies of one radiograph, and remembers them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[str] = []

    def study(self, damaged: bool = False, study: str = "", series: str = "") -> tuple[str, Path]:
        """UID of a new study, and its file."""
        number = len(self.sent) + len(list(self.folder.iterdir()))
        pixels = np.random.default_rng(number).integers(0, 4096, (32, 40), dtype=np.uint16)
        made = image("DX", pixels, number=number + 1, study=study, series=series)
        if damaged:
            made.PixelData = made.PixelData[:100]
        path = self.folder / f"Mueller_Anna_{number}.dcm"
        made.save_as(path, enforce_file_format=True)
        return str(made.StudyInstanceUID), path


@pytest.fixture
def sender(tmp_path) -> Sender:
    return Sender(tmp_path)


def each_once(served: Served, studies: list[str]) -> None:
    """One report in each study."""
    counts = {uid: [str(one.SOPInstanceUID) for one in served.results(uid)] for uid in studies}
    assert {uid: len(found) for uid, found in counts.items()} == dict.fromkeys(studies, 1)


def test_a_report_comes_back_in_the_study(served, sender):
    uid, path = sender.study()
    served.send(path)
    begun = time.monotonic()
    (report,) = wait_for("report", lambda: served.results(uid), show=served.show)
    taken = time.monotonic() - begun
    source = pydicom.dcmread(path)
    assert report.SOPClassUID == REPORT
    assert report.StudyInstanceUID == uid and report.PatientID == source.PatientID
    assert report.PatientName == source.PatientName
    served.wait_until_done(1)
    (item,) = served.queue().listing()
    assert (item.study_uid, item.series_uid, item.objects) == (uid, source.SeriesInstanceUID, 1)
    assert taken < item.ended - item.started + 1 + 10  # with the second until a series counts as complete
    assert "1 done" in served.ask("queue")


def test_results_are_not_predicted_themselves(served):
    """Our report is stable by now, and was looked at."""
    time.sleep(2.5)
    assert len(served.queue().listing()) == 1


def test_without_the_password_nothing_is_told(served):
    for path in ("/medssm/queue", "/studies"):
        assert requests.get(served.url + path, timeout=10).status_code == 401
    assert served.get("/medssm/queue?state=done")["counts"]["done"] == 1
    assert served.session.get(f"{served.url}/medssm/queue?state=x", timeout=10).status_code == 400
    assert served.session.post(f"{served.url}/medssm/queue", timeout=10).status_code == 405


def test_an_image_that_comes_later_is_predicted_and_the_first_is_not_again(served, sender):
    uid, path = sender.study()
    served.send(path)
    (first,) = wait_for("report", lambda: served.results(uid), show=served.show)
    _, later = sender.study(study=uid, series=str(pydicom.dcmread(path).SeriesInstanceUID))
    served.send(later)
    both = wait_for("second report", lambda: found if len(found := served.results(uid)) > 1 else None, show=served.show)
    served.wait_until_done(2)
    about = {str(one.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
                 .ReferencedSOPInstanceUID) for one in both}  # fmt: skip
    assert about == {str(pydicom.dcmread(one).SOPInstanceUID) for one in (path, later)}
    assert str(first.SOPInstanceUID) in {str(one.SOPInstanceUID) for one in served.results(uid)}
    assert len(served.results(uid)) == 2


def test_a_study_that_always_fails_is_listed_and_stops_no_other(served, sender):
    bad, bad_path = sender.study(damaged=True)
    good, good_path = sender.study()
    before = served.queue().counts()["done"]
    served.send(bad_path)
    served.send(good_path)
    served.wait_until_done(before + 1)
    each_once(served, [good])
    assert served.results(bad) == []
    (item,) = json.loads(served.ask("queue", "--state", "failed", "--json"))["items"]
    assert item["study_uid"] == bad and item["attempts"] == 2 and item["reason"]
    assert [one["study_uid"] for one in served.get("/medssm/queue?state=failed")["items"]] == [bad]


def test_fifty_studies_in_a_row_lose_nothing(served, sender):
    before = served.queue().counts()["done"]
    studies, paths = zip(*(sender.study() for _ in range(50)), strict=True)
    for start in range(0, 50, 5):
        served.send(*paths[start : start + 5])
    served.wait_until_done(before + 50)
    each_once(served, list(studies))


def test_kills_lose_nothing_and_double_nothing(served, sender):
    before = served.queue().counts()["done"]
    studies, paths = zip(*(sender.study() for _ in range(16)), strict=True)
    served.send(*paths[:4])
    wait_for("item at work", lambda: served.queue().counts()["done"] > before, show=served.show)
    end(served.worker, signal.SIGKILL)
    served.send(*paths[4:8])
    end(served.orthanc, signal.SIGKILL)  # before the series are stable: it will never name them
    served.start_orthanc()
    served.start_worker("--send-to", "receiver")
    served.send(*paths[8:12])
    wait_for("item at work", lambda: served.queue().counts()["done"] > before + 2, show=served.show)
    end(served.orthanc, signal.SIGKILL)
    served.start_orthanc()
    served.send(*paths[12:])
    end(served.worker, signal.SIGTERM)
    assert served.worker.returncode == 0
    assert served.queue().counts()["running"] == 0
    served.start_worker("--send-to", "receiver", "--dicomweb" if "dicom-web" in served.get("/plugins") else "--once")
    served.wait_until_done(before + 16)
    each_once(served, list(studies))
    spool = [folder.name for folder in (served.storage / "spool").iterdir()]
    assert spool == [str(item.id) for item in served.queue().listing("failed")]


def test_results_are_sent_on_to_a_receiver(served, sender):
    """And all that it has got is what Orthanc holds: the same objects, by the same identifiers."""
    uid, path = sender.study()
    served.send(path)

    def arrived() -> set[str]:
        received = [pydicom.dcmread(file) for file in served.received.iterdir()]
        return {str(one.SOPInstanceUID) for one in received if one.StudyInstanceUID == uid}

    found = wait_for("object at the receiver", arrived, show=served.show)
    assert found == {str(one.SOPInstanceUID) for one in served.results(uid)}


def test_dicomweb_both_ways(served, sender):
    if "dicom-web" not in served.get("/plugins"):
        pytest.skip("Orthanc's DICOMweb plugin is not installed (apt-get install orthanc-dicomweb)")
    uid, path = sender.study()
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    web = f"{served.url}/dicom-web/studies"
    sent = served.session.post(web, data=head + path.read_bytes() + b"\r\n--b--\r\n", headers=kind, timeout=30)
    assert sent.ok, sent.text
    (report,) = wait_for("report", lambda: served.results(uid), show=served.show)
    got = served.session.get(
        f"{web}/{uid}", headers={"Accept": "multipart/related; type=application/dicom"}, timeout=30
    )
    assert got.ok and str(report.SOPInstanceUID).encode() in got.content


def test_nothing_names_the_patient(served):
    """Not the queue, nor what it and the worker say, nor the lines of the plugin and Orthanc."""
    with sqlite3.connect(served.storage / "queue.sqlite") as database:
        said = "\n".join(database.iterdump())
    said += served.ask("queue") + json.dumps(served.get("/medssm/queue"))
    said += served.worker_log() + served.logs["orthanc"].read_text()
    assert "queued for medspectralnet" in said and "done (1 objects" in said
    assert [name for name in (*PATIENT, "Mueller") if name in said] == []
    password = (served.storage / "password").read_text().strip()
    assert password not in said
    for name in ("password", "orthanc.json", "queue.sqlite", "spool", "images", "rules.json", ""):
        assert (served.storage / name).stat().st_mode & 0o077 == 0, name
