"""The module for mercure and the watcher as programs, with a bundle's own weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason='pydicom is not installed; pip install "medssm-monai[dicom]"')
pytest.importorskip("highdicom", reason='highdicom is not installed; pip install "medssm-monai[dicom]"')

from ..dicom.objects import image  # noqa: E402
from ..waiting import wait_for  # noqa: E402
from .label_server import REPOSITORY  # noqa: E402

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "medssm_monai.apps.dicom.mercure", "medspectralnet"]
PATIENT = ("ller^Anna", "ID-4711", "19700102", "ACC-99", "Mueller")


def task(folder: Path, count: int = 1, **settings) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        made = image(
            "DX", np.random.default_rng(number).integers(0, 4096, (32, 40), dtype=np.uint16), number=number + 1
        )
        made.save_as(folder / f"{made.SeriesInstanceUID}#{made.SOPInstanceUID}.dcm", enforce_file_format=True)
    process = {"module_name": "medssm", "settings": settings, "retain_input_images": False}
    (folder / "task.json").write_text(json.dumps({"id": "1", "info": {"mrn": "ID-4711"}, "process": process}))
    return folder


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "PASSIVE", **more}


def test_a_module(tmp_path):
    inputs, output = task(tmp_path / "in", objects=["report"]), tmp_path / "out"
    done = subprocess.run(
        COMMAND,
        env=environment(MERCURE_IN_DIR=str(inputs), MERCURE_OUT_DIR=str(output)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (source,) = [pydicom.dcmread(path) for path in inputs.glob("*.dcm")]
    (path,) = output.glob("*.dcm")
    report = pydicom.dcmread(path)
    assert report.Modality == "SR" and report.StudyInstanceUID == source.StudyInstanceUID
    assert path.name == f"{report.SeriesInstanceUID}#{report.SOPInstanceUID}.dcm"
    said = (output / "result.json").read_text()
    assert json.loads(said)["predictions"][0]["series_uid"] == source.SeriesInstanceUID
    assert json.loads(said)["model"]["model"] == "medspectralnet"
    assert [name for name in PATIENT if name in said + done.stdout + done.stderr] == []


def test_a_watcher_that_is_killed_and_started_again(tmp_path):
    folders = [tmp_path / name for name in ("watch", "output", "errors")]
    watch, output, errors = folders
    names = [f"Mueller_{number}" for number in range(4)]
    for name in names:
        task(watch / name, count=3, objects=["report"])
    for path in (task(watch / "damaged") / "x").parent.glob("*.dcm"):
        path.write_bytes(path.read_bytes()[:-200])
    words = ["--watch", str(watch), "--output", str(output), "--errors", str(errors), "--poll", "0.1", "--once"]
    command = [*COMMAND, *words, "--max-attempts", "2"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)

        def begun() -> bool:
            return output.exists() and any(not path.name.startswith(".") for path in output.iterdir())

        wait_for("result", begun, show=(tmp_path / "log").read_text, pause=0.01, process=running)
        running.send_signal(signal.SIGKILL)
        running.wait(30)
        done = subprocess.run(command, env=environment(), stdout=log, stderr=log, timeout=300)
    said = (tmp_path / "log").read_text()
    assert done.returncode == 0, said
    assert sorted(path.name for path in output.iterdir()) == names
    for name in names:
        assert len(list((output / name).glob("*.dcm"))) == 3 and not (output / name / ".lock").exists()
    assert [path.name for path in errors.iterdir()] == ["damaged"]
    assert "files not used" in (errors / "damaged" / ".error").read_text()
    assert [path for path in watch.iterdir() if path.is_dir()] == []
    assert [name for name in PATIENT if name in said] == []
