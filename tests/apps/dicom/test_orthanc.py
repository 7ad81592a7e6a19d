"""The commands for Orthanc: its configuration, the listing of the queue, and what is refused."""

from __future__ import annotations

import json

import pytest

from medssm_monai.apps.dicom import orthanc
from medssm_monai.apps.dicom.in_orthanc.rules import read_rules
from medssm_monai.apps.dicom.in_orthanc.study_queue import StudyQueue
from medssm_monai.apps.dicom.orthanc_config import Storage

PLUGIN = "libOrthancPython.so"


@pytest.fixture
def start(tmp_path):
    """Runs ``start --config-only``; returns its status."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / PLUGIN).touch()

    def run(*words: str) -> int:
        folder = ["--storage", str(tmp_path / "storage"), "--plugins", str(tmp_path / "plugins"), "--config-only"]
        return orthanc.main(["start", *words, *folder])

    return run


def test_the_configuration_is_closed_by_default(start, tmp_path):
    assert start("mamba_mis", "medconvmamba") == 0
    storage = Storage(tmp_path / "storage")
    config = storage.config
    assert not config["RemoteAccessAllowed"] and config["AuthenticationEnabled"] and len(storage.password) >= 24
    assert not config["DicomAlwaysAllowStore"] and config["DicomCheckModalityHost"]
    assert [one["Host"] for one in config["DicomModalities"].values()] == ["127.0.0.1"]
    assert not config["WebDavEnabled"] and not config["ExecuteLuaEnabled"]
    assert [rule.bundle for rule in read_rules(config["MedSSM"]["Rules"])] == ["mamba_mis", "medconvmamba"]
    assert storage.url == "http://127.0.0.1:8042"
    for path in storage.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_started_again_it_keeps_rules_and_password(start, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"bundle": "clinical_fmamba", "level": "study", "modality": "MR|CT"}]))
    assert start("--rules", str(rules)) == 0
    storage = Storage(tmp_path / "storage")
    before = storage.password
    assert start("--http-port", "8052", "--modality", "pacs=PACS@10.0.0.5:104") == 0
    assert storage.password == before and storage.url.endswith(":8052")
    assert storage.config["DicomModalities"]["pacs"] == {
        "AET": "PACS", "Host": "10.0.0.5", "Port": 104, "AllowStore": True
    }  # fmt: skip
    assert read_rules(storage.config["MedSSM"]["Rules"])[0].modality == "MR|CT"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name bundles, or a file with --rules"),
        (["a", "--remote-access", "--no-password"], "only with its password"),
        (["a", "--remote-access"], "would travel unencrypted"),
        (["a", "--modality", "pacs"], "NAME=AET@HOST:PORT is expected"),
        (["a", "--modality", "p=TITLE_OF_17_CHARS@h:1"], "NAME=AET@HOST:PORT is expected"),
        (["a", "--rules", "r.json"], "either bundles or --rules"),
    ],
)
def test_what_is_refused(start, capsys, words, message):
    assert start(*words) == 2
    assert message in capsys.readouterr().err


def test_no_plugin(tmp_path, capsys):
    assert orthanc.main(["start", "a", "--storage", str(tmp_path / "s"), "--plugins", str(tmp_path)]) == 2
    assert "apt-get install orthanc orthanc-python" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_listing_and_retry(tmp_path, capsys):
    file = tmp_path / "queue.sqlite"
    assert orthanc.main(["queue", "--queue", str(file)]) == 2
    queue = StudyQueue(file)
    for name in "ab":
        queue.add("series", name, "mamba_mis", "1.2", f"1.2.{name}", "c")
    queue.finish(queue.claim("mamba_mis", "me", 60, 3), "failed", "damaged")
    assert orthanc.main(["queue", "--queue", str(file)]) == 0
    counts, first, _ = capsys.readouterr().out.splitlines()
    assert counts == "1 waiting, 0 running, 0 done, 1 failed, 0 given up"
    assert first.startswith("1  failed  mamba_mis") and first.endswith("series 1.2.a  damaged")
    assert orthanc.main(["queue", "--queue", str(file), "--state", "failed", "--json"]) == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)["items"]] == [1]
    for word, message in (("2", "item 2 is waiting"), ("9", "no item 9"), ("x", "the number of an item, or all")):
        assert orthanc.main(["retry", word, "--queue", str(file)]) == 2
        assert message in capsys.readouterr().err
    assert orthanc.main(["retry", "all", "--queue", str(file)]) == 0
    assert queue.counts()["waiting"] == 2


def test_a_worker_needs_to_know_where_the_queue_is(tmp_path, capsys):
    assert orthanc.main(["work", "mamba_mis"]) == 2
    assert "either --storage FOLDER or --queue FILE" in capsys.readouterr().err
    assert orthanc.main(["work", "mamba_mis", "--storage", str(tmp_path)]) == 2
    assert "the command 'start --storage" in capsys.readouterr().err
    assert orthanc.main(["work", "mamba_mis", "--queue", str(tmp_path / "q"), "--orthanc", "http://10.0.0.5"]) == 2
    assert "use https" in capsys.readouterr().err
