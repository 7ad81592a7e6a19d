"""DICOM archives: studies by their identifiers, wherever their files lie."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medssm_monai.apps.bulk import main
from medssm_monai.apps.bulk.archive import DicomArchive

from ...bundle.tiny_bundles import MEDCONVMAMBA, VOLUMES, copy_bundle
from ...dicom.objects import image, require_libraries, save, slices, turned

require_libraries()
PATIENT = ("Müller", "Anna", "ID-4711", "House")  # no few digits alone, which identifiers have by chance


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 255, (30, 32), dtype=np.uint8)


@pytest.fixture
def archive(tmp_path):
    """Two studies whose pictures lie in folders together, a cut file, a letter."""
    folder = tmp_path / "Anna ID-4711"
    made = [image("DX", pixels(0)), image("DX", pixels(1))]
    made.append(image("ES", np.stack([pixels(2)] * 3, -1), study=made[0].StudyInstanceUID))
    for number, one in enumerate(made):
        save(one, folder / f"day {number % 2}" / f"Anna {number}.dcm")
    cut = folder / "day 0" / "cut.dcm"
    cut.write_bytes((folder / "day 0" / "Anna 0.dcm").read_bytes()[:900])
    (folder / "letter to Anna.txt").write_text("not DICOM")
    return folder, made


def test_studies_are_put_together_from_all_folders(archive):
    folder, made = archive
    source = DicomArchive(folder)
    first, second, wrong = sorted(source, key=lambda study: (bool(study.wrong), -len(study.files)))
    assert (first.uid, len(first.files)) == (made[0].StudyInstanceUID, 2)
    assert (second.uid, len(second.files)) == (made[1].StudyInstanceUID, 1)
    assert wrong.files[0].endswith("cut.dcm") and source.count() == 3
    assert dict(source.passed) == {"no DICOM file": 1}
    assert [study.key for study in DicomArchive(folder)] == [study.key for study in source]


def test_the_command_writes_what_is_written_of_folders_and_names_nobody(archive, tmp_path, capfd):
    folder, made = archive
    bundle, out = str(copy_bundle(MEDCONVMAMBA, tmp_path / "bundles")), tmp_path / "out"
    assert main([bundle, str(folder), str(out), "--workers", "1"]) == 3
    said = capfd.readouterr()
    results = sorted(out.glob("results/*/*/*/result.json"))
    assert {path.parent.parent.name for path in results} == {one.StudyInstanceUID for one in made}
    assert len(results) == 3 and all((path.parent / name).is_file() for path in results for name in read(path)["files"])
    summary = read(out / "bulk.json")
    assert summary["studies"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1, "passed": 0, "gone": 0}
    assert summary["drift"]["modalities"] == {"DX": 2, "ES": 1}
    assert any(reason.startswith("modality (the bundle is for CR, DX") for reason in summary["drift"]["reasons"])
    with open(out / "failures.csv", newline="", encoding="utf8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["attempts"] == "0" and "damaged" in row["reason"] or "pixels" in row["reason"]
    texts = [path.read_bytes() for path in out.glob("*.*")] + [str(path).encode() for path in out.rglob("*")]
    written = b"\n".join(texts).replace(str(tmp_path).encode(), b"").decode("utf8", "replace")
    assert [word for word in PATIENT if word in written + said.out + said.err] == []
    assert main([bundle, str(folder), str(out), "--workers", "1"]) == 3  # nothing is done again
    assert "This run" not in capfd.readouterr().out


@pytest.fixture
def command(tmp_path):
    bundle = str(copy_bundle(MEDCONVMAMBA, tmp_path / "bundles"))
    return lambda folder, *more: main([bundle, str(folder), str(tmp_path / "out"), "--workers", "1", *more])


def results_of(out):
    return {path.parent.name: read(path) for path in out.glob("results/*/*/*/result.json")}


def test_files_replaced_under_the_same_identifiers_give_new_results(tmp_path, command):
    first = image("DX", pixels(0))
    save(first, tmp_path / "in" / "a.dcm")
    assert command(tmp_path / "in") == 0
    (before,) = results_of(tmp_path / "out").items()
    first.PixelData = pixels(7).tobytes()
    save(first, tmp_path / "in" / "a.dcm")
    assert command(tmp_path / "in") == 0
    (after,) = results_of(tmp_path / "out").items()
    assert after[0] == before[0] and after[1]["key"] == before[1]["key"]
    assert after[1]["files"] != before[1]["files"]
    assert command(tmp_path / "in") == 0
    assert dict([after]) == results_of(tmp_path / "out")


@pytest.mark.parametrize("nameless", [False, True])
def test_images_that_are_taken_out_take_their_results_with_them(tmp_path, command, nameless):
    secret = ("--deidentify", str(tmp_path / "key")) if nameless else ()
    one = image("DX", pixels(0))
    late = image("DX", pixels(1), study=one.StudyInstanceUID)
    save(one, tmp_path / "in" / "a.dcm")
    assert command(tmp_path / "in", *secret) == 0
    early = set(results_of(tmp_path / "out"))
    save(late, tmp_path / "in" / "b.dcm")
    assert command(tmp_path / "in", *secret) == 0
    both = set(results_of(tmp_path / "out"))
    assert len(both) == 2 and early < both
    (tmp_path / "in" / "a.dcm").unlink()
    assert command(tmp_path / "in", *secret) == 0
    assert set(results_of(tmp_path / "out")) == both - early


def test_late_slices_leave_one_result_of_the_whole_volume(tmp_path):
    import pydicom

    bundle = str(copy_bundle(VOLUMES, tmp_path / "bundles"))
    for name in ("mr", "pet"):  # a pair on the same voxels, of which the last slices come later
        paths = slices(tmp_path / "in" / name, turned(0), size=(6, 12, 9), study="1.2.3")
        for path in paths:
            made = pydicom.dcmread(path)
            made.FrameOfReferenceUID = "1.2.4"
            save(made, path)
        paths[-1].rename(tmp_path / f"late {name}")
    words = [bundle, str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 0
    (early,) = results_of(tmp_path / "out")
    for name in ("mr", "pet"):
        (tmp_path / f"late {name}").rename(tmp_path / "in" / name / "late.dcm")
    assert main(words) == 0
    (whole,) = results_of(tmp_path / "out")
    assert whole != early


def test_a_file_that_can_be_read_again_is_no_failure_any_more(archive, tmp_path, command):
    folder, made = archive
    assert command(folder) == 3
    save(image("DX", pixels(3), study=made[1].StudyInstanceUID), folder / "day 0" / "cut.dcm")
    assert command(folder) == 0
    assert read(tmp_path / "out" / "bulk.json")["studies"] | {"waiting": 0} == {
        **{"waiting": 0, "running": 0, "done": 2, "failed": 0, "passed": 0, "gone": 1}
    }
    assert len(results_of(tmp_path / "out")) == 4 and not (tmp_path / "out" / "failures.csv").exists()


def read(path):
    return json.loads(path.read_text(encoding="utf8"))
