"""What a run leaves behind does not say where its images lay: reports, tables, log and tracking store of each task."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from .bundle_runs import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA

PATIENT = "PATIENT_MUELLER_1970"
TRAIN, EVALUATE, INFER = ("train.yaml",), ("train.yaml", "evaluate.yaml"), ("inference.yaml",)
SHOWN = {  # bundle -> table of the evaluation, names in it, and what is listed for inference
    "mamba_mis": ("per_image.csv", "images/", "images"),
    "medconvmamba": ("per_image.csv", "kind <b>/|plain/", "plain"),
    "clinical_fmamba": ("per_pair.csv", "MRI/", ""),
}


def _write(path, seed, mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 44), dtype=np.uint8)
    Image.fromarray((pixels > 99).astype(np.uint8) * 255 if mask else pixels).save(path)


def _data(bundle, folder):
    """A small data set; returns the settings that it needs."""
    for number in range(12):
        if bundle is MAMBA_MIS:
            _write(folder / "images" / f"{number}.png", number)
            _write(folder / "masks" / f"{number}.png", number, mask=True)
        elif bundle is CLINICAL_FMAMBA:
            _write(folder / "MRI" / f"{number}.png", number)
            _write(folder / "CT" / f"{number}.png", number + 99)
        else:
            for name in ("kind <b>", "plain"):
                _write(folder / name / f"{name[:2]}{number}.png", number + len(name))
    more = {"sources": ["MRI", "CT"]} if bundle is CLINICAL_FMAMBA else {}
    tiny = {key: value for key, value in bundle.tiny.items() if "demo" not in key}
    drawn = {} if bundle is MEDCONVMAMBA else {"split": "random"}
    return {**tiny, **more, **drawn, "dataset_dir": str(folder)}


def _runs(bundle, data, out):
    """Training, evaluation and inference, below ``out``."""
    settings = _data(bundle, data)
    bundle.run(TRAIN, out, **settings, run_name="first", data_name="study 7")
    few = {key: settings[key] for key in ("dataset_dir", "split", "sources", "device") if key in settings}
    weights = {"ckpt_path": str(out / "models" / "model.pt")}
    bundle.run(EVALUATE, out, **few, **weights, run_name="test", data_name="study 7")
    broken = data / SHOWN[bundle.name][2] / ("MRI/broken.png" if bundle is CLINICAL_FMAMBA else "broken.png")
    broken.write_bytes(b"no picture")
    if bundle is CLINICAL_FMAMBA:
        _write(data / "CT" / "broken.png", 0)
    source = data / SHOWN[bundle.name][2]
    more = {"save_overlay": True} if bundle is MAMBA_MIS else {}
    bundle.run(INFER, out / "predicted", "infer", **weights, dataset_dir=str(source), device="cpu", **more)


def _holding(folder, word):
    """Files below a folder whose name or content holds a word."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if word in path.name or word.encode() in path.read_bytes()]


@pytest.mark.parametrize("bundle", [MAMBA_MIS, MEDCONVMAMBA, CLINICAL_FMAMBA], ids=str)
def test_nothing_says_where_the_images_lay(bundle, tmp_path, caplog, capfd, monkeypatch):
    monkeypatch.delenv("MEDSSM_FULL_NAMES", raising=False)
    caplog.set_level("INFO")
    data, out = tmp_path / PATIENT, tmp_path / "out"
    _runs(bundle, data, out)
    printed = "".join(capfd.readouterr())
    assert _holding(out, PATIENT) == []
    assert PATIENT not in caplog.text + printed
    table, begin, _ = SHOWN[bundle.name]
    with open(out / "test" / table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows and all(row["image"].startswith(tuple(begin.split("|"))) for row in rows)
    assert all((data / row["image"]).is_file() for row in rows)
    with open(out / "predicted" / "failed.csv", newline="") as stream:
        (failed,) = csv.DictReader(stream)
    assert failed["file"] == ("MRI/broken.png" if bundle is CLINICAL_FMAMBA else "broken.png")
    _client, runs = bundle.mlflow_runs(out)
    assert {run.data.params["dataset_dir"] for run in runs} == {"(data folder)"}
    assert {run.data.tags["data"] for run in runs} == {"study 7"}
    logged = [path.name for path in (out / "mlruns").rglob("*") if path.is_file()]
    pictures = {name for name in logged if name.endswith(".png")}
    assert pictures <= {"curves.png", "confusion_matrix.png", "roc_curves.png", "pr_curves.png", "reliability.png"}
    assert {"curves.png"} <= pictures and table in logged and "report.md" in logged
    if bundle is not MEDCONVMAMBA:
        assert (out / "test" / ("cases.png" if bundle is CLINICAL_FMAMBA else "overlays.png")).is_file()


def test_names_and_pictures_are_there_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSM_FULL_NAMES", "1")
    data, out = tmp_path / PATIENT, tmp_path / "out"
    settings = _data(MAMBA_MIS, data)
    MAMBA_MIS.run(TRAIN, out, **settings, run_name="first", **{"tracker#pictures": True})
    with open(out / "first" / "validation" / "per_image.csv", newline="") as stream:
        assert all(row["image"].startswith(f"{data}/images/") for row in csv.DictReader(stream))
    summary = json.loads((out / "first" / "validation" / "summary.json").read_text())
    assert all(case["image"].startswith(str(data)) for case in summary["cases"])
    _, (run,) = MAMBA_MIS.mlflow_runs(out)
    assert run.data.params["dataset_dir"] == str(data)
    assert run.data.tags["data"] == PATIENT
    assert list((out / "mlruns").rglob("overlays.png"))


def test_pages_show_the_names_of_classes_and_files_as_texts(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    settings = _data(MEDCONVMAMBA, data)
    MEDCONVMAMBA.run(TRAIN, out, **settings, run_name="first")
    page = (out / "first" / "validation" / "report.md").read_text()
    assert "<b>" not in page and "kind &lt;b&gt;" in page
