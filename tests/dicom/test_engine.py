"""Folders of studies through real bundles: results are whole, restartable, and name no patient."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

import medssm_monai
from medssm_monai.dicom import Deidentifier, finished
from medssm_monai.dicom.engine import StudyEngine
from medssm_monai.dicom.results import ResultOptions
from medssm_monai.dicom.selection import Selection

from ..bundle.tiny_bundles import MAMBA_MIS, MEDCONVMAMBA, copy_bundle
from .objects import image, problems, require_libraries, save, slices, turned

require_libraries()
import pydicom  # noqa: E402

PATIENT = ("Müller", "Anna", "ID-4711", "ACC-99", "19700102", "House")
"""What :func:`~.objects.image` writes about the patient; names of folders and files repeat it."""


def pixels(seed=0, size=(40, 50)):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


@pytest.fixture
def studies(tmp_path):
    """Two pictures and a damaged file in folders called after the patient."""
    folder = tmp_path / "Müller^Anna ID-4711"
    save(image("XC", pixels(1)), folder / "Anna 1.dcm")
    whole = save(image("XC", pixels(2)), folder / "Anna 2.dcm").read_bytes()
    (folder / "Anna 3.dcm").write_bytes(
        save(image("XC", pixels(3)), folder / "Anna 3.dcm").read_bytes()[: len(whole) // 2]
    )
    return folder


@pytest.fixture
def segmenter(tmp_path):
    return medssm_monai.load(copy_bundle(MAMBA_MIS, tmp_path / "bundles"), device="cpu")


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_results_are_those_of_the_predictor_and_the_second_run_passes_over_them(studies, segmenter, tmp_path):
    engine, out = StudyEngine(segmenter), tmp_path / "out"
    plan = engine.plan(studies)
    results = list(engine.run(plan, out))
    assert [result.state for result in results] == ["done", "done"]
    for job, result in zip(plan.jobs, results, strict=True):
        (seg,) = [path for path in result.objects if path.name.startswith("seg_")]
        mask = segmenter.predict(job.pictures[0]).mask
        np.testing.assert_array_equal(pydicom.dcmread(seg).pixel_array.reshape(mask.shape), mask)
        assert [problems(path) for path in result.objects] == [[], []]
        said = json.loads((result.folder / finished.RESULT).read_text())
        assert said["model"]["weights SHA-256"] == engine.about.weights_sha256
        assert set(said["files"]) == {path.name for path in result.files} and said["answer"] == result.answer
    before = tree(out)
    again = list(engine.run(studies, out))
    assert [result.state for result in again] == ["done before"] * 2
    assert [result.files for result in again] == [result.files for result in results]
    assert tree(out) == before


def test_a_result_with_a_missing_file_is_made_again(studies, segmenter, tmp_path):
    engine, out = StudyEngine(segmenter), tmp_path / "out"
    first, second = engine.run(studies, out)
    first.objects[0].unlink()
    states = {result.key: result.state for result in engine.run(studies, out)}
    assert states == {first.key: "done", second.key: "done before"}


def test_other_weights_and_options_are_other_results(studies, segmenter, tmp_path):
    out = tmp_path / "out"
    options = [ResultOptions(), ResultOptions(objects=("segmentation",)), ResultOptions(fractional=True)]
    folders = {result.folder for one in options for result in StudyEngine(segmenter, one).run(studies, out)}
    other = medssm_monai.load(segmenter.root, device="cpu", threshold=0.3)
    folders |= {result.folder for result in StudyEngine(other).run(studies, out)}
    assert len(folders) == 8


def calibrated(bundle, folder, **conformal):
    """A tiny bundle whose weights carry thresholds."""
    root = copy_bundle(bundle, folder)
    file = root / "models" / "model.json"
    noted = {"level": 0.9, "images": 50, "one_per_group": False, "groups": None, "data": None, "part": "validation"}
    settings = json.loads(file.read_text()) | {"conformal": noted | {"conditions": {}} | conformal}
    file.write_text(json.dumps(settings))
    return root


def test_results_of_calibrated_weights_hold_sets_and_masks(studies, segmenter, tmp_path):
    (plain, _) = StudyEngine(segmenter).run(studies, tmp_path / "out")
    name = segmenter.task.class_names[0]
    root = calibrated(MAMBA_MIS, tmp_path / "risk", method="crc", thresholds={name: 0.25})
    predictor = medssm_monai.load(root, device="cpu")
    engine = StudyEngine(predictor)
    plan = engine.plan(studies)
    results = list(engine.run(plan, tmp_path / "out"))
    assert results[0].state == "done" and results[0].folder != plain.folder  # of the same weights and images
    for job, result in zip(plan.jobs, results, strict=True):
        said = json.loads((result.folder / finished.RESULT).read_text())
        assert said["calibrated"] == predictor.predict(job.pictures[0]).calibrated
        assert said["calibrated"]["masks"][name]["threshold"] == 0.25
        assert [problems(path) for path in result.objects] == [[], []]
    assert results[0].answer == plain.answer
    root = calibrated(MEDCONVMAMBA, tmp_path / "sets", method="lac", threshold=1.0, classes=3)
    classifier = medssm_monai.load(root, device="cpu")
    options = ResultOptions(objects=("report",))
    result = next(StudyEngine(classifier, options).run(studies, tmp_path / "out"))
    said = json.loads((result.folder / finished.RESULT).read_text())["calibrated"]
    assert sorted(said["prediction_set"]) == sorted(classifier.task.class_names) and said["coverage"] == 0.9
    assert [problems(path) for path in result.objects] == [[]]


def test_one_failure_names_the_instance_and_stops_nothing(studies, segmenter, tmp_path):
    wrong = image("XC", pixels(4), PhotometricInterpretation="CMYK")
    save(wrong, studies / "Anna 0.dcm")
    results = list(StudyEngine(segmenter).run(studies, tmp_path / "out"))
    (failed,) = [result for result in results if result.state == "failed"]
    assert failed.instance_uid == wrong.SOPInstanceUID and failed.reason and failed.files == ()
    assert not any(word in failed.reason for word in PATIENT)
    assert sum(result.state == "done" for result in results) == 2
    assert not list((tmp_path / "out").rglob(".part-*"))


def test_files_are_called_by_their_identifiers(studies, segmenter, monkeypatch):
    plan = StudyEngine(segmenter).plan(studies)
    (aside,) = plan.found.set_aside
    assert aside.lost and plan.names.file(aside.path) == f"instance {aside.uid}"
    text = f"{plan.jobs[0].pictures[0]}: broken; see {studies}"
    assert plan.names.text(text) == f"instance {plan.jobs[0].instance_uid}: broken; see (input folder)"
    monkeypatch.setenv("MEDSSM_FULL_NAMES", "1")
    assert plan.names.text(text) == text


def test_no_patient_in_logs_texts_names_and_json(studies, segmenter, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    handler = logging.FileHandler(tmp_path / "log.txt", encoding="utf8")
    logging.getLogger().addHandler(handler)
    try:
        results = list(StudyEngine(segmenter).run(studies, tmp_path / "out"))
    finally:
        logging.getLogger().removeHandler(handler)
    said = (tmp_path / "log.txt").read_text(encoding="utf8") + repr(results).replace(str(tmp_path), "")
    said += "".join(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    said += "".join(path.read_text(encoding="utf8") for path in (tmp_path / "out").rglob("*.json"))
    assert [word for word in PATIENT if word in said] == []


def test_without_the_patient_nothing_of_it_is_in_any_byte(studies, segmenter, tmp_path):
    key = Deidentifier(b"k" * 32)
    engine = StudyEngine(segmenter, ResultOptions(deidentify=key))
    results = list(engine.run(studies, tmp_path / "out"))
    uids = {uid for job in engine.plan(studies).jobs for uid in (job.series[0].study_uid, job.instance_uid)}
    words = [*(word.encode() for word in PATIENT), *("Müller".encode("latin1"),), *(uid.encode() for uid in uids)]
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert [word for word in words if word in content or word in os.fsencode(path.relative_to(tmp_path))] == []
    assert {result.study_uid for result in results} == {
        key.uid(job.series[0].study_uid) for job in engine.plan(studies).jobs
    }


def test_a_class_is_a_report_and_a_picture(tmp_path):
    predictor = medssm_monai.load(copy_bundle(MEDCONVMAMBA, tmp_path / "bundles"), device="cpu")
    save(image("DX", pixels()[..., 0]), tmp_path / "in" / "x.dcm")
    (result,) = StudyEngine(predictor).run(tmp_path / "in", tmp_path / "out")
    assert sorted(path.name.partition("_")[0] for path in result.files) == ["picture", "report", "report"]
    assert [problems(path) for path in result.objects] == [[], []]
    (small,) = StudyEngine(predictor, ResultOptions(objects=("report",))).run(tmp_path / "in", tmp_path / "out")
    assert len(small.objects) == 1
    with pytest.raises(ValueError, match="a classification has no segmentation; it has report, picture"):
        StudyEngine(predictor, ResultOptions(objects=("segmentation",)))


def test_two_volumes_become_a_series_of_the_first_ones_kind(tmp_path):
    slices(tmp_path / "in" / "a", turned(10), size=(16, 24, 24))
    header = pydicom.dcmread(next((tmp_path / "in" / "a").glob("*.dcm")))
    slices(tmp_path / "in" / "b", turned(10), size=(16, 24, 24), study=header.StudyInstanceUID)
    for path in (tmp_path / "in" / "b").glob("*.dcm"):
        other = pydicom.dcmread(path)
        other.FrameOfReferenceUID, other.SeriesNumber, other.SeriesDescription = header.FrameOfReferenceUID, 9, "b"
        other.save_as(path)
    predictor = medssm_monai.load("clinical_fmamba", ckpt_path="volume", device="cpu")
    engine = StudyEngine(predictor, selection=Selection(sources={"source_b": "^b$"}))
    (result,) = engine.run(tmp_path / "in", tmp_path / "out")
    made = [pydicom.dcmread(path) for path in result.objects]
    assert len(made) == 16 and {one.Modality for one in made} == {"MR"}
    assert {one.StudyInstanceUID for one in made} == {header.StudyInstanceUID}
    assert problems(result.objects[0]) == []


def test_slices_without_a_place_are_lost_to_a_network_of_volumes_and_no_secret(tmp_path):
    slices(tmp_path / "in", turned(10))
    for path in (tmp_path / "in").glob("*.dcm"):
        header = pydicom.dcmread(path)
        del header.ImagePositionPatient
        header.save_as(path)
    plan = StudyEngine(medssm_monai.load("clinical_fmamba", ckpt_path="volume", device="cpu")).plan(tmp_path / "in")
    assert plan.jobs == () and plan.found.set_aside == ()
    ((what, reason),) = plan.lost
    assert what == f"series {header.SeriesInstanceUID}" and "no valid position" in reason


def test_images_without_identifiers_get_no_result(tmp_path, segmenter):
    made = image("XC", pixels())
    made.StudyInstanceUID = ""
    save(made, tmp_path / "in" / "x.dcm")
    (result,) = StudyEngine(segmenter).run(tmp_path / "in", tmp_path / "out")
    assert result.state == "failed" and "StudyInstanceUID: empty" in result.reason


def test_a_killed_run_leaves_nothing_half_done(studies, segmenter, tmp_path):
    """Killed between two objects of a result; what it left is cleared by the next run."""
    program = f"""
import os, signal, sys
from medssm_monai import load
from medssm_monai.dicom import report
from medssm_monai.dicom.engine import StudyEngine
report.write = lambda *words, **names: os.kill(os.getpid(), signal.SIGKILL)
list(StudyEngine(load({str(segmenter.root)!r}, device="cpu")).run({str(studies)!r}, {str(tmp_path / "out")!r}))
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert killed.returncode < 0, killed.stderr
    assert len(list((tmp_path / "out").rglob("seg_*.dcm"))) == 1 and list((tmp_path / "out").rglob(".part-*"))
    results = list(StudyEngine(segmenter).run(studies, tmp_path / "out"))
    assert [result.state for result in results] == ["done", "done"]
    assert len(list((tmp_path / "out").rglob("seg_*.dcm"))) == 2 and not list((tmp_path / "out").rglob(".part-*"))


def test_two_runs_at_once_leave_one_result_each(studies, segmenter, tmp_path):
    engine, out = StudyEngine(segmenter), tmp_path / "out"
    (job, _), plan = engine.plan(studies).jobs, engine.plan(studies)
    target = engine.result_folder(job, out)
    with finished.whole_folder(target, {}) as ours:
        (ours / "mine.txt").write_text("slower")
        assert [result.state for result in engine.run(plan, out)] == ["done", "done"]  # the other run is faster
    assert not (target / "mine.txt").exists() and finished.read_result(target)["answer"]
    assert len(list(out.rglob("seg_*.dcm"))) == 2


def test_a_folder_that_cannot_be_written_into_is_said_first(studies, segmenter, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PermissionError, match="choose another output folder"):
        list(StudyEngine(segmenter).run(studies, tmp_path / "out"))


@pytest.mark.parametrize("uid", ["../../escaped", "/absolute", "..", "1." + "2" * 80, "Müller^Anna", "1.2\n3"])
def test_an_identifier_that_is_none_names_no_folder_and_is_not_said(uid, tmp_path, segmenter):
    made = image("XC", pixels())
    with pydicom.config.disable_value_validation():
        made.StudyInstanceUID = uid
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    save(made, tmp_path / "in" / "x.dcm")
    (result,) = StudyEngine(segmenter).run(tmp_path / "in", tmp_path / "deep" / "er" / "out")
    assert result.state == "failed" and "StudyInstanceUID: no UIDs" in result.reason and result.study_uid == ""
    assert [path for path in (tmp_path / "deep").rglob("*")] == [
        tmp_path / "deep" / "er",
        tmp_path / "deep" / "er" / "out",
    ]
    assert not (tmp_path / "deep" / "escaped").exists() and result.instance_uid == "1.2.3"


def test_identifiers_with_zeros_in_front_stay_as_they_are(tmp_path, segmenter):
    """Makers write them; under others nobody would find the images again."""
    made = image("XC", pixels())
    with pydicom.config.disable_value_validation():
        made.StudyInstanceUID = "1.2.03.4"
    save(made, tmp_path / "in" / "x.dcm")
    (result,) = StudyEngine(segmenter).run(tmp_path / "in", tmp_path / "out")
    assert {pydicom.dcmread(path).StudyInstanceUID for path in result.objects} == {"1.2.03.4"}
    assert result.folder.parent.name == "1.2.03.4"


def test_the_current_folder_as_input(studies, segmenter, tmp_path, monkeypatch):
    """Its name, a point, is part of every text."""
    wrong = image("XC", pixels(), PhotometricInterpretation="CMYK")
    save(wrong, studies / "wrong.dcm")
    monkeypatch.chdir(studies)
    results = list(StudyEngine(segmenter).run(".", tmp_path / "out"))
    (failed,) = [result for result in results if result.state == "failed"]
    assert f"instance {wrong.SOPInstanceUID}: " in failed.reason and "(input folder)" not in failed.reason


def test_names_of_files_that_are_no_utf8(tmp_path, segmenter):
    path = save(image("XC", pixels()), tmp_path / "in" / "x.dcm")
    os.rename(path, os.fsencode(tmp_path / "in") + b"/M\xfcller\n1.dcm")
    (result,) = StudyEngine(segmenter).run(tmp_path / "in", tmp_path / "out")
    assert result.state == "done", result.reason


def test_a_file_called_like_a_frame(tmp_path, segmenter):
    for name in ("3", "4"):
        save(image("XC", pixels(int(name))), tmp_path / "in" / "frames" / name)
    results = list(StudyEngine(segmenter).run(tmp_path / "in", tmp_path / "out"))
    assert [result.state for result in results] == ["done", "done"] and {result.frame for result in results} == {None}


def test_the_key_of_a_result_without_the_patient_follows_from_the_secret(studies, segmenter, tmp_path):
    """Who has the images could tell from the plain one that they were used."""
    plain = {job.key for job in StudyEngine(segmenter).plan(studies).jobs}
    keys = []
    for secret in (b"k" * 32, b"l" * 32):
        engine = StudyEngine(segmenter, ResultOptions(deidentify=Deidentifier(secret)))
        results = list(engine.run(studies, tmp_path / "out"))
        keys.append({result.key for result in results})
        written = {json.loads((result.folder / finished.RESULT).read_text())["key"] for result in results}
        assert written == keys[-1]
    assert not keys[0] & keys[1] and not plain & (keys[0] | keys[1])


def test_log_messages_are_clean_where_nobody_has_set_up_logging(studies, segmenter):
    """Python's handler of last resort, and handlers of other loggers; one of two users ends first."""
    names, said = StudyEngine(segmenter).plan(studies).names, []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        with names.in_logs():
            with names.in_logs():
                pass
            logger.warning("cannot read %s", studies / "Anna 1.dcm")
            record = logging.makeLogRecord({"msg": f"{studies / 'Anna 1.dcm'}", "levelno": logging.WARNING})
            assert logging.lastResort.filter(record) and "Anna" not in record.getMessage()
    finally:
        logger.removeHandler(handler)
    assert said and "Anna" not in said[0]
