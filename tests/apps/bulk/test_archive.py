"""DICOM archives: studies by their identifiers, wherever their files lie."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medssm_monai.apps.bulk import main
from medssm_monai.apps.bulk.archive import DicomArchive

from ...bundle.tiny_bundles import MEDCONVMAMBA, copy_bundle
from ...dicom.objects import image, require_libraries, save

require_libraries()
PATIENT = ("Müller", "Anna", "4711", "House")


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
    assert summary["studies"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1, "passed": 0}
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


def read(path):
    return json.loads(path.read_text(encoding="utf8"))
