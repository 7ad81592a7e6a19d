"""The command, on tiny networks."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medssm_monai import load
from medssm_monai.apps.bulk import main, ray_pool
from medssm_monai.apps.bulk.run import BulkRun, EndsTheRunError
from medssm_monai.apps.bulk.tables import Account
from medssm_monai.apps.bulk.work import describe_work
from medssm_monai.apps.cli import main as medssm
from medssm_monai.bundle import write_model_settings
from medssm_monai.data.fingerprint import Fingerprint, ImageFacts

from ...bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, copy_bundle
from .pictures import contents, write_pictures

PATIENT = "Anna"


def rows_of(path):
    with open(path, newline="", encoding="utf8") as stream:
        return list(csv.DictReader(stream))


def texts(out):
    """Everything that lies in a folder of results, the names of the files with it, as one text of bytes."""
    files = [path for path in out.rglob("*") if path.is_file()]
    return b"\n".join([str(path.relative_to(out)).encode() + path.read_bytes() for path in files])


@pytest.fixture
def segmenter(tmp_path):
    return copy_bundle(MAMBA_MIS, tmp_path / "bundles")


def test_results_are_those_of_the_predictor_and_name_nobody(segmenter, tmp_path, capfd):
    images, out = write_pictures(tmp_path / "in", 5), tmp_path / "out"
    (images / "Anna 0" / "image cut.png").write_bytes((images / "Anna 0" / "image 0.png").read_bytes()[:200])
    words = [str(segmenter), str(images), str(out), "--workers", "1"]
    assert main(words) == 3
    said = capfd.readouterr()
    assert "5 of 6 studies done, 1 failed" in said.out
    assert PATIENT.encode() not in texts(out).replace(str(tmp_path).encode(), b"")
    assert PATIENT not in said.out + said.err
    (failure,) = rows_of(out / "failures.csv")
    assert failure["reason"].startswith("ImageReadError: (image)") and failure["attempts"] == "1"
    assert main([*words, "--names"]) == 3  # nothing is predicted, the tables get the names
    rows = rows_of(out / "results.csv")
    assert [row["name"] for row in rows] == [f"Anna {n % 2}/image {n}.png" for n in (0, 2, 4, 1, 3)]
    predictor = load(segmenter)
    for row in rows:
        mask = np.asarray(Image.open(out / row["folder"] / "mask.png")) > 0
        expected = predictor.predict(images / row["name"])
        assert np.array_equal(mask, expected.mask)
        assert float(row[f"share_{expected.labels.names[0]}"]) == pytest.approx(mask.mean(), abs=1e-6)
    assert rows_of(out / "failures.csv")[0]["name"] == "Anna 0/image cut.png"


def test_a_changed_image_has_a_new_result_in_place_of_the_old_one(segmenter, tmp_path):
    images, out = write_pictures(tmp_path / "in", 2), tmp_path / "out"
    words = [str(segmenter), str(images), str(out), "--workers", "1"]
    assert main(words) == 0
    before = contents(out)
    Image.fromarray(np.full((20, 20), 250, np.uint8)).save(images / "Anna 1" / "image 1.png")
    assert main(words) == 0
    after = contents(out)
    assert sorted(before) == sorted(after)
    assert {name.split("/")[2] for name in after if after[name] != before[name]} == {
        path.split("/")[2] for path in after if path.endswith("mask.png") and after[path] != before[path]
    }
    assert sum(after[name] != before[name] for name in after if name.endswith("mask.png")) == 1
    assert json.loads((out / "bulk.json").read_text())["drift"]["of"] == 2  # each once


def test_another_input_into_one_folder_is_refused_and_a_moved_one_goes_on(segmenter, tmp_path, capsys):
    first, other, out = write_pictures(tmp_path / "in", 2), write_pictures(tmp_path / "new", 2), tmp_path / "out"
    assert main([str(segmenter), str(first), str(out), "--workers", "1"]) == 0
    before = contents(out)
    Image.fromarray(np.full((20, 20), 250, np.uint8)).save(other / "Anna 1" / "image 1.png")
    words = [str(segmenter), str(other), str(out), "--workers", "1"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "results of other place of the input" in said and "Name another folder" in said and "say --moved" in said
    assert contents(out) == before
    shutil.rmtree(other)
    first.rename(other)
    assert main([*words, "--moved"]) == 0 and "This run" not in capsys.readouterr().out
    assert contents(out) == before
    assert main(words) == 0  # from now on it belongs there
    assert main([str(segmenter), str(write_pictures(first, 2)), str(out), "--workers", "1"]) == 2


def test_another_calibration_of_the_same_weights_is_told():
    def described(calibration):
        predictor = SimpleNamespace(name="x", overrides={}, task=SimpleNamespace(calibration=calibration))
        return describe_work(predictor, None, "ab" * 32, "images", "0")["options"]

    assert described({"level": 0.9}) == described({"level": 0.9})
    assert len({described(one) for one in ({"level": 0.9}, {"level": 0.8}, None)}) == 3


def test_classes_with_probabilities_and_pairs_fused(tmp_path, capsys):
    classifier = copy_bundle(MEDCONVMAMBA, tmp_path / "bundles")
    images = write_pictures(tmp_path / "in", 3)
    assert medssm(["bulk", str(classifier), str(images), str(tmp_path / "a"), "--workers", "1", "--names"]) == 0
    predictor = load(classifier)
    for row in rows_of(tmp_path / "a" / "results.csv"):
        expected = predictor.predict(images / row["name"])
        assert row["class"] == expected.class_name
        assert float(row["probability_ring"]) == pytest.approx(expected.by_class()["ring"], abs=1e-6)
    fusion = copy_bundle(CLINICAL_FMAMBA, tmp_path / "bundles")
    pair = sorted((images / "Anna 0").iterdir())
    (tmp_path / "pairs.csv").write_text(f"image_a,image_b\n{pair[0]},{pair[1]}\n")
    assert main([str(fusion), str(tmp_path / "pairs.csv"), str(tmp_path / "b"), "--workers", "1"]) == 0
    (fused,) = (tmp_path / "b").glob("results/*/*/fused.png")
    expected = load(fusion).predict(tuple(pair)).image
    assert np.abs(np.asarray(Image.open(fused)) / 255 - expected).max() <= 0.5 / 255 + 1e-6


def test_drift_is_said_in_the_manifest_the_report_and_at_the_end(segmenter, tmp_path, capsys):
    quiet = [ImageFacts.of(np.full((1, 24, 28), 0.1 + 0.001 * number)) for number in range(10)]
    domain = {"text": "dark squares", "fingerprints": {"image": Fingerprint.of(quiet, 10).as_dict()}}
    write_model_settings(segmenter / "models" / "model.pt", {**MAMBA_MIS.settings, "domain": domain})
    images, out = write_pictures(tmp_path / "in", 24), tmp_path / "out"
    assert main([str(segmenter), str(images), str(out), "--workers", "1"]) == 0
    assert "DRIFT: 24 of 24 studies are unlike the training: intensities" in capsys.readouterr().out
    drift = json.loads((out / "bulk.json").read_text())["drift"]
    assert drift["unlike training"] == 24 and drift["distance of the mean intensities"]["image"] == pytest.approx(
        0.4, abs=0.05
    )
    assert len(drift["flags"]) == 2 and drift["batches"][0]["batch"] == 1
    assert "**DRIFT.**" in (out / "report.md").read_text(encoding="utf8")
    assert all("intensities" in row["unlike_training"] for row in rows_of(out / "results.csv"))


def test_calibrated_answers_are_in_the_results(segmenter, tmp_path):
    name = load(segmenter).task.class_names[0]
    noted = {"method": "crc", "level": 0.9, "thresholds": {name: 0.25}, "images": 50, "one_per_group": False}
    noted |= {"groups": None, "data": None, "part": "validation", "conditions": {}}
    write_model_settings(segmenter / "models" / "model.pt", {**MAMBA_MIS.settings, "conformal": noted})
    images = write_pictures(tmp_path / "in", 1)
    assert main([str(segmenter), str(images), str(tmp_path / "out"), "--workers", "1"]) == 0
    (result,) = tmp_path.glob("out/results/*/*/result.json")
    expected = load(segmenter).predict(images / "Anna 0" / "image 0.png").calibrated
    assert expected is not None and json.loads(result.read_text(encoding="utf8"))["calibrated"] == expected


def test_what_cannot_be_done_is_said(segmenter, tmp_path, capsys, monkeypatch):
    images, out = write_pictures(tmp_path / "in", 1), tmp_path / "out"
    words = [str(segmenter), str(images), str(out)]
    assert main([*words, "--modality", "MR", "--workers", "1"]) == 2
    assert "--modality: only for DICOM archives" in capsys.readouterr().err
    assert main([*words, "--workers", "1"]) == 0
    assert main([*words, "--workers", "1", "--set", "threshold=0.4"]) == 2
    assert "this folder holds results of other options" in capsys.readouterr().err
    assert main([*words, "--workers", "1", "--set", "device=cpu", "--set", "ckpt_path=a.pt"]) == 2
    assert "--set ckpt_path (--weights), device (--device): give the option in" in capsys.readouterr().err
    monkeypatch.setattr(ray_pool, "optional_import", lambda name: (None, False))
    assert main([str(segmenter), str(write_pictures(tmp_path / "more", 2)), str(tmp_path / "b"), "--workers", "2"]) == 2
    assert 'need Ray; install it with: pip install "medssm-monai[scale]"' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--workers", "0"])
    assert "--workers 0: expected 1 or more" in capsys.readouterr().err


def test_a_full_disk_is_said_though_the_tables_do_not_fit_either(segmenter, tmp_path, capsys, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    def ends(*_):
        raise EndsTheRunError("the disk is full; go on")

    monkeypatch.setattr(BulkRun, "run", ends)
    monkeypatch.setattr(Account, "write", full)
    words = [str(segmenter), str(write_pictures(tmp_path / "in", 1)), str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 2
    assert "the disk is full; go on" in capsys.readouterr().err
    assert "tables and report were not written" in caplog.text


def test_one_run_at_a_time(segmenter, tmp_path, capsys):
    from filelock import FileLock

    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"):
        assert main([str(segmenter), str(write_pictures(tmp_path / "in", 1)), str(out)]) == 2
    assert "another run writes into" in capsys.readouterr().err


def test_a_damaged_manifest_is_named_with_the_remedy_which_loses_no_result(segmenter, tmp_path, capsys):
    images, out = write_pictures(tmp_path / "in", 3), tmp_path / "out"
    words = [str(segmenter), str(images), str(out), "--workers", "1"]
    assert main(words) == 0
    before = contents(out)
    (out / "manifest.sqlite").write_bytes(b"no database" * 500)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "manifest.sqlite is damaged (file is not a database). Take it" in said and "Traceback" not in said
    (out / "manifest.sqlite").unlink()
    assert main(words) == 0
    assert contents(out) == before


def test_images_that_do_not_fit_together_are_counted_and_named_where_asked_for(tmp_path, capsys):
    fusion, images = copy_bundle(CLINICAL_FMAMBA, tmp_path / "bundle"), tmp_path / "in"
    images.mkdir()
    picture = write_pictures(tmp_path / "made", 1) / "Anna 0" / "image 0.png"
    for name in (f"{PATIENT}_a.png", f"{PATIENT}_b.png", f"{PATIENT} 2_a.png"):
        (images / name).write_bytes(picture.read_bytes())
    words = [str(fusion), str(images), str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "image without partner (1): add the image of the other source" in said and PATIENT not in said
    assert main([*words, "--names"]) == 2
    assert f"{PATIENT} 2_a.png" in capsys.readouterr().err
