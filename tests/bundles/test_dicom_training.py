"""Training and evaluation straight from DICOM archives, through the bundles' own configs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medssm_monai.data.demo.structures import STRUCTURES_DEMO_LABELS, structures_demo_sample

from ..dicom import archives
from ..dicom.objects import require_libraries
from .bundle_runs import MAMBA_MIS, MEDCONVMAMBA
from .class_sets import CLASS_SETS

require_libraries()
SIZE = (26, 22, 18)
PATIENTS = 5


def planes(mask: np.ndarray) -> np.ndarray:
    """(X, Y, Z) as (slices, rows, columns)."""
    return mask.transpose(2, 1, 0)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """An archive of demo structures: oblique series, every second one stored backwards, with a SEG each."""
    root = tmp_path_factory.mktemp("archive")
    for number in range(PATIENTS):
        values, labels = structures_demo_sample("training", number, 3, SIZE)
        folder = root / f"Nobody^Nemo{number}" / "study"
        made = archives.series(folder / "im", values, f"NEMO-{number}", flipped=bool(number % 2))
        masks = {name.upper(): planes(labels == value) for name, value in STRUCTURES_DEMO_LABELS.items()}
        archives.segmentation(folder / "seg", made, masks)
        same = {key: getattr(made[0], key) for key in ("StudyInstanceUID", "FrameOfReferenceUID")}
        archives.series(folder / "second", values // 2, f"NEMO-{number}", SeriesDescription="T2", **same)
    return root


def no_patient_in(folder):
    texts = [path for path in folder.rglob("*") if path.suffix in (".json", ".csv", ".md", ".html", ".log")]
    assert texts
    for path in [*texts, *folder.rglob("*")]:
        shown = path.relative_to(folder).as_posix() + (path.read_text() if path in texts else "")
        # signs that base64 lacks: letters alone turn up in the pictures of a report by chance
        assert not any(name in shown.lower() for name in ("^nemo", "nemo-", "nemo.", "nobody^")), path


@pytest.mark.parametrize("channels", [None, ["t1", "t2"]])
def test_volumes_are_trained_and_scored(volumes, channels, tmp_path):
    tiny = next(case for case in CLASS_SETS if case.name == "four classes 3D").tiny | {"split": "auto"}
    options = {"dataset_dir": str(volumes), "labels": STRUCTURES_DEMO_LABELS, "channel_names": channels}
    MAMBA_MIS.run(("train.yaml", "volume.yaml"), tmp_path, run_name="first", **options, **tiny)
    data = json.loads((tmp_path / "first" / "provenance.json").read_text())["data"]
    slices = SIZE[-1] * (2 if channels else 1)
    assert data["files"] == PATIENTS * (slices + 1) and data["sha256"]  # with a SEG for each
    with open(tmp_path / "first" / "history.csv") as stream:
        assert np.isfinite(float(next(csv.DictReader(stream))["train_loss"]))
    files = ("train.yaml", "volume.yaml", "evaluate.yaml")
    ckpt = str(tmp_path / "models" / "model.pt")
    options |= {"ckpt_path": ckpt, "part": "all", "device": "cpu", "layout": "dicom"}
    MAMBA_MIS.run(files, tmp_path, run_name="scored", **options)
    summary = json.loads((tmp_path / "scored" / "summary.json").read_text())
    assert summary["classes"].keys() == STRUCTURES_DEMO_LABELS.keys()
    with open(tmp_path / "scored" / "per_image.csv") as stream:
        names = [row["image"] for row in csv.DictReader(stream)]
    assert len(set(names)) == PATIENTS and all(name.startswith("1.2.826.") for name in names)
    no_patient_in(tmp_path)


def test_classes_of_a_table_are_trained_and_scored(tmp_path):
    root, out = tmp_path / "archive", tmp_path / "out"
    rows = ["PatientID,label"]
    for number in range(14):
        values, _ = structures_demo_sample("training", number, 2, (32, 32))
        archives.picture(root / f"Nobody^Nemo{number}" / "nemo.dcm", values // (1 + number % 2), f"NEMO-{number}")
        rows.append(f"NEMO-{number},{('bright', 'dark')[number % 2]}")
    (root / "labels.csv").write_text("\n".join(rows))
    MEDCONVMAMBA.run(("train.yaml",), out, run_name="first", **MEDCONVMAMBA.tiny, dataset_dir=str(root))
    options = {"dataset_dir": str(root), "ckpt_path": str(out / "models" / "model.pt"), "device": "cpu"}
    MEDCONVMAMBA.run(("train.yaml", "evaluate.yaml"), out, run_name="scored", part="test", **options)
    with open(out / "scored" / "per_image.csv") as stream:
        names = [row["image"] for row in csv.DictReader(stream)]
    assert names and all(name.startswith("1.2.826.") for name in names)
    no_patient_in(out)


def test_pictures_are_trained_and_scored(tmp_path):
    root = tmp_path / "archive"
    for number in range(6):
        values, labels = structures_demo_sample("training", number, 2)
        folder = root / f"Nobody^Nemo{number}"
        made = archives.picture(folder / "nemo.dcm", values, f"NEMO-{number}")
        archives.segmentation(folder / "b.dcm", [made], {"Lesion": (labels == 1)[None]})
    out = tmp_path / "out"
    tiny = MAMBA_MIS.tiny | {"dataset_dir": str(root), "split": "auto"}
    MAMBA_MIS.run(("train.yaml",), out, run_name="first", **tiny)
    options = {"dataset_dir": str(root), "ckpt_path": str(out / "models" / "model.pt"), "part": "all", "device": "cpu"}
    MAMBA_MIS.run(("train.yaml", "evaluate.yaml"), out, run_name="scored", **options)
    with open(out / "scored" / "per_image.csv") as stream:
        assert len({row["image"] for row in csv.DictReader(stream)}) == 6
    no_patient_in(out)
