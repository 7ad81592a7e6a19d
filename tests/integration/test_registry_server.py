"""A registry on a real MLflow server: registered, compared, served, used as weights; and lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.utils import path_to_sqlite_uri
from PIL import Image

import medssm_monai
from medssm_monai.apps.registry.main import main
from medssm_monai.apps.registry.pyfunc_model import record
from medssm_monai.utils.tracking import REQUESTS

from ..bundle.tiny_bundles import MAMBA_MIS, copy_bundle
from ..bundles.bundle_runs import REPOSITORY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="the servers are stopped by signals of POSIX"),
]
STORE = "MEDSSM_MLFLOW_STORE"
"""Environment variable: address of an empty PostgreSQL database, in place of a SQLite file."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(words: list[str], folder: Path, name: str, **environment: str) -> Iterator[subprocess.Popen]:
    """A program of MLflow; what it says is in ``<name>.log``."""
    variables = {**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=folder,
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, log: Path, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise AssertionError(log.read_text()[-3000:]) from None
            time.sleep(0.5)


def ask(address: str, content: dict) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_registry_from_the_first_version_to_the_served_champion(tmp_path, monkeypatch, capsys) -> None:
    for name in REQUESTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    registry, model = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    words = ["server", "--host", "127.0.0.1", "--port", registry.rsplit(":", 1)[1], "--workers", "1"]
    words += ["--backend-store-uri", os.environ.get(STORE) or path_to_sqlite_uri(tmp_path / "runs.db")]
    words += ["--artifacts-destination", str(tmp_path / "artifacts")]
    root = copy_bundle(MAMBA_MIS, tmp_path)
    torch.save(MAMBA_MIS.network(1).state_dict(), root / "models" / "other.pt")
    shutil.copy(root / "models" / "model.json", root / "models" / "other.json")
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    (tmp_path / "free").mkdir()
    Image.fromarray(image).save(tmp_path / "free" / "a.png")
    wanted = record(medssm_monai.load(root, device="cpu").predict(image))
    with running(words, tmp_path, "registry") as server:
        wait_for(f"{registry}/health", tmp_path / "registry.log")
        assert main(["register", "model", "--bundle", str(root), "--name", "lesions"]) == 0
        serve = ["models", "serve", "-m", "models:/lesions/1", "--env-manager", "local", "-h", "127.0.0.1"]
        serve += ["-p", model.rsplit(":", 1)[1]]
        beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where uvicorn is
        with running(serve, tmp_path, "model", MEDSSM_SERVED_FILES=str(tmp_path / "free"), PATH=beside):
            assert main(["register", "other", "--bundle", str(root), "--name", "lesions"]) == 0
            compared = ["--bundle", str(root), "--data", "demo", "--", "--datalists#demo_counts", "[4, 2, 4]"]
            assert main(["promote", "lesions", "1", "--floor", "none", *compared]) == 0
            assert "Promoted: version 1 of lesions as champion. dice is 0." in capsys.readouterr().out
            predictor = medssm_monai.load(root, ckpt_path="models:/lesions@champion", device="cpu")
            np.testing.assert_array_equal(predictor.predict(image).probability, wanted["probability"])

            wait_for(f"{model}/ping", tmp_path / "model.log")
            for content in (
                {"inputs": {"image": [image.tolist()]}},
                {"instances": [{"image": image.tolist()}]},
                {"dataframe_split": {"columns": ["image"], "data": [["a.png"]]}},
            ):
                status, answer = ask(model, content)
                assert status == 200, answer
                (found,) = answer["predictions"]
                np.testing.assert_array_equal(np.array(found["mask"], np.uint8), wanted["mask"])
                np.testing.assert_array_equal(np.array(found["probability"], np.float32), wanted["probability"])
                assert found["confidence"] == wanted["confidence"] and found["trained_for"] == "not recorded"
            status, answer = ask(model, {"dataframe_split": {"columns": ["image"], "data": [["../mamba_mis/x.png"]]}})
            assert status >= 400 and "PermissionError" in json.dumps(answer)
        os.killpg(server.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="does not answer"):
            medssm_monai.load(root, ckpt_path="models:/lesions@champion")
        assert time.monotonic() - began < 30
        assert main(["promote", "lesions", "2", "--bundle", str(root), "--data", "demo"]) == 2
        assert f"the MLflow registry {registry} does not answer" in capsys.readouterr().err
