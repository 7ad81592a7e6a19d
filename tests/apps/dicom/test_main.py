"""The command for folders of studies, started as users start it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from medssm_monai.apps.cli import main as medssm
from medssm_monai.apps.dicom import main
from medssm_monai.dicom import engine

from ...bundle.tiny_bundles import MAMBA_MIS, MEDCONVMAMBA, copy_bundle
from ...dicom.objects import image, require_libraries, save, slices, turned

require_libraries()

PATIENT = ("Müller", "Anna", "ID-4711", "ACC-99", "19700102", "House")


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def segmenter(tmp_path):
    return str(copy_bundle(MAMBA_MIS, tmp_path / "bundles"))


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "Müller^Anna ID-4711"
    for number in range(3):
        save(image("XC", pixels(number), SeriesDescription="arm" if number else "leg"), folder / f"Anna {number}.dcm")
    return folder


def run(*words, cwd=None):
    command = [sys.executable, "-m", "medssm_monai.apps.dicom", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_folder_its_report_and_the_second_run(segmenter, studies, tmp_path, capsys):
    words = [segmenter, str(studies), str(tmp_path / "out"), "--report", str(tmp_path / "report.json")]
    assert main(words) == 0
    assert "3 of 3 predictions done." in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf8"))
    assert [row["state"] for row in report["predictions"]] == ["done"] * 3 and report["images"] == 3
    assert all((tmp_path / "out" / name).is_file() for row in report["predictions"] for name in row["files"])
    assert report["model"]["model"] == "mamba_mis" and report["not_read"] == []
    assert main(words) == 0
    assert "0 of 3 predictions done, 3 done before." in capsys.readouterr().out


def test_a_dry_run_writes_nothing(segmenter, studies, tmp_path, capsys):
    slices(studies / "mr", turned(5))
    assert main([segmenter, str(studies), str(tmp_path / "out"), "--dry-run", "--description", "arm"]) == 0
    said = capsys.readouterr().out
    assert "2 predictions with mamba_mis:" in said and said.count(": picture") == 2
    assert "2 series: another description than asked for (arm)" in said and not (tmp_path / "out").exists()


def test_what_failed_and_what_could_not_be_read_are_named_without_the_patient(segmenter, studies, tmp_path):
    wrong = image("XC", pixels(), PhotometricInterpretation="CMYK")
    save(wrong, studies / "Anna wrong.dcm")
    cut = (studies / "Anna 0.dcm").read_bytes()
    (studies / "Anna 0.dcm").write_bytes(cut[: len(cut) // 2])
    (studies / "Anna empty.dcm").touch()
    (studies / "letter to Anna.txt").write_text("not DICOM")
    done = run(segmenter, studies, tmp_path / "out", "--report", tmp_path / "report.json")
    assert done.returncode == 3, done.stderr
    assert "2 of 3 predictions done, 1 failed." in done.stdout
    assert f"instance {wrong.SOPInstanceUID}: " in done.stdout
    assert "file 4 of 6 (by name): the file is empty" in done.stdout
    assert "passed over, 1 files: no DICOM file" in done.stdout
    said = done.stdout + done.stderr + (tmp_path / "report.json").read_text(encoding="utf8")
    said += "".join(path.name for path in (tmp_path / "out").rglob("*"))
    assert [word for word in PATIENT if word in said.replace(str(tmp_path), "")] == []


def test_names_of_files_where_they_are_asked_for(segmenter, studies, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDSSM_FULL_NAMES", "1")
    (studies / "Anna empty.dcm").touch()
    assert main([segmenter, str(studies), str(tmp_path / "out")]) == 3
    assert str(studies / "Anna empty.dcm") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no_bundle", "{in}", "{out}"], "no_bundle"),
        (["{net}", "{in}/nowhere", "{out}"], "no such folder"),
        (["{net}", "{in}", "{out}", "--set", "threshold"], "expected KEY=VALUE"),
        (["{net}", "{in}", "{out}", "--set", "thresold=0.4"], "thresold"),
        (["{net}", "{in}", "{out}", "--source", "a=b"], "takes one series at a time"),
        (["{net}", "{in}", "{out}", "--description", "("], "is no regular expression"),
        (["{net}", "{in}", "{out}", "--objects", "picture"], "a segmentation has no picture"),
        (["{net}", "{in}", "{out}", "--segments", "{codes}"], "'wound' is no class"),
        (["{net}", "{in}", "{out}", "--deidentify", "{codes}"], "holds no key of a de-identification"),
        (["{net}", "{in}", "{out}", "--modality", "CT"], "nothing in the input that the network takes"),
    ],
)
def test_bad_input(segmenter, studies, tmp_path, capsys, words, message):
    (tmp_path / "codes.json").write_text('{"wound": {"category": ["1", "SCT", "x"], "type": ["2", "SCT", "y"]}}')
    places = {"net": segmenter, "in": studies, "out": tmp_path / "out", "codes": tmp_path / "codes.json"}
    assert main([word.format(**places) for word in words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_codes_of_classes_from_a_file(segmenter, studies, tmp_path):
    import pydicom

    code = {"category": ["49755003", "SCT", "Morphologically Abnormal Structure"], "type": ["13924000", "SCT", "Wound"]}
    (tmp_path / "codes.json").write_text(json.dumps({"lesion": code}))
    assert main([segmenter, str(studies), str(tmp_path / "out"), "--segments", str(tmp_path / "codes.json")]) == 0
    segments = [pydicom.dcmread(path).SegmentSequence[0] for path in (tmp_path / "out").rglob("seg_*.dcm")]
    assert {one.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for one in segments} == {"Wound"}


def test_a_key_is_made_once_and_used_again(segmenter, studies, tmp_path):
    key = tmp_path / "key"
    for number in "12":
        assert main([segmenter, str(studies), str(tmp_path / number), "--deidentify", str(key)]) == 0
    assert key.stat().st_mode & 0o077 == 0
    first, second = ({path.name for path in (tmp_path / number).iterdir()} for number in "12")
    assert first == second and all(name.startswith("2.25.") for name in first)


def test_the_short_command(tmp_path, capsys):
    save(image("DX", pixels()[..., 0]), tmp_path / "in" / "x.dcm")
    bundle = str(copy_bundle(MEDCONVMAMBA, tmp_path / "bundles"))
    assert medssm(["dicom", bundle, str(tmp_path / "in"), str(tmp_path / "out"), "--objects", "report"]) == 0
    assert "1 of 1 predictions done." in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        medssm(["dicom", "--help"])
    assert stopped.value.code == 0 and "usage: medssm dicom" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.thorough)]
)
def test_a_signal_ends_in_order_and_the_next_run_goes_on(segmenter, studies, tmp_path, sent, status):
    for number in range(40):
        save(image("XC", pixels(number)), studies / f"more {number}.dcm")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "medssm_monai.apps.dicom", segmenter, str(studies), str(out)]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  a background shell ignores it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not list(out.glob("*/mamba_mis_*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert "start the same command again" in said
    before = len(list(out.glob("*/mamba_mis_*")))
    assert 0 < before < 43 and not list(out.rglob(".part-*"))
    again = run(segmenter, studies, out)
    assert again.returncode == 0 and f"{43 - before} of 43 predictions done, {before} done before." in again.stdout


def test_a_full_disk_ends_the_run_and_what_was_done_is_said(segmenter, studies, tmp_path, monkeypatch, capsys):
    written, write = [], engine.write_results

    def full_after_one(*words):
        if written:
            raise OSError(errno.ENOSPC, "the disk is full")
        written.append(write(*words))

    monkeypatch.setattr(engine, "write_results", full_after_one)
    assert main([segmenter, str(studies), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "1 of 3 predictions done." in said and "the disk is full" in said
    assert not list((tmp_path / "out").rglob(".part-*"))
