"""A registry on a real MLflow server: registered, compared, served, used as weights; and lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
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
from ..thorough import first_of
from . import postgres_server
from .label_server import free_port
from .mlflow_servers import kill, running, tracking, wait_until_it_answers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="the servers are stopped by signals of POSIX"),
]


@pytest.fixture(params=first_of(["postgresql", "sqlite"]))
def store(request, tmp_path) -> Iterator[str]:
    """Address of an empty database."""
    if request.param == "sqlite":
        yield path_to_sqlite_uri(tmp_path / "runs.db")
        return
    if why := postgres_server.missing():
        pytest.skip(why)
    with postgres_server.postgres() as address:
        yield address


def ask(address: str, content: dict) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def register_two(root: Path) -> list[str]:
    """Two versions of a model, of which the first has the weights of the bundle; words of a comparison of them."""
    torch.save(MAMBA_MIS.network(1).state_dict(), root / "models" / "other.pt")
    shutil.copy(root / "models" / "model.json", root / "models" / "other.json")
    for weights in ("model", "other"):
        assert main(["register", weights, "--bundle", str(root), "--name", "lesions"]) == 0
    return ["--bundle", str(root), "--data", "demo", "--", "--datalists#demo_counts", "[4, 2, 4]"]


def require_served(model: str, image: np.ndarray, wanted: dict) -> None:
    """The server gives what the predictor gives, and no file outside its folder."""
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


def test_a_registry_from_the_first_version_to_a_lost_server(tmp_path, store, monkeypatch, capsys) -> None:
    """What a model answers does not depend on the store: it is served from the first one only."""
    for name in REQUESTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    registry, model = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    root = copy_bundle(MAMBA_MIS, tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    (tmp_path / "free").mkdir()
    Image.fromarray(image).save(tmp_path / "free" / "a.png")
    wanted = record(medssm_monai.load(root, device="cpu").predict(image))
    serve = ["models", "serve", "-m", "models:/lesions/1", "--env-manager", "local", "-h", "127.0.0.1"]
    serve += ["-p", model.rsplit(":", 1)[1]]
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where uvicorn is
    with ExitStack() as stack:
        words = tracking(int(registry.rsplit(":", 1)[1]), store, tmp_path / "artifacts")
        server = stack.enter_context(running(words, tmp_path, "registry"))
        wait_until_it_answers(f"{registry}/health", server, tmp_path / "registry.log")
        compared = register_two(root)
        if store.startswith("sqlite:"):
            variables = {"MEDSSM_SERVED_FILES": str(tmp_path / "free"), "PATH": beside}
            served = stack.enter_context(running(serve, tmp_path, "model", **variables))
        assert main(["promote", "lesions", "1", "--floor", "none", *compared]) == 0
        assert "Promoted: version 1 of lesions as champion. dice is 0." in capsys.readouterr().out
        predictor = medssm_monai.load(root, ckpt_path="models:/lesions@champion", device="cpu")
        np.testing.assert_array_equal(predictor.predict(image).probability, wanted["probability"])
        if store.startswith("sqlite:"):
            wait_until_it_answers(f"{model}/ping", served, tmp_path / "model.log")
            require_served(model, image, wanted)
        else:
            assert main(["promote", "lesions", "2", *compared]) == 3
            assert "Refused: version 2 of lesions as champion. dice differs by -0." in capsys.readouterr().out
        shutil.rmtree(tmp_path / "artifacts")  # as when a database is used with another store of artifacts
        assert main(["promote", "lesions", "2", *compared]) == 2
        error = capsys.readouterr().err
        assert "cannot be fetched from the registry's artifact store" in error and "does not answer" not in error
        kill(server)
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="does not answer"):
            medssm_monai.load(root, ckpt_path="models:/lesions@champion")
        assert time.monotonic() - began < 30
        assert main(["promote", "lesions", "2", "--bundle", str(root), "--data", "demo"]) == 2
        assert f"the MLflow registry {registry} does not answer" in capsys.readouterr().err
