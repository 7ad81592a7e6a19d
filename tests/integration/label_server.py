"""MONAI Label's real server in the environment of its own, and a client for its REST API."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from contextlib import suppress
from email import message_from_bytes
from pathlib import Path
from typing import Any

import requests

from ..waiting import wait_for
from .environments import REPOSITORY, environment_python, own_variables

TASK_SECONDS = 600


def label_python() -> Path:
    """Interpreter of the environment that ``scripts/label_environment.py`` makes, made or reused now.

    The variable MEDSSM_LABEL_VENV names another folder for it.
    """
    return environment_python("label")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LabelServer:
    """A running server; use it in a ``with`` block, which always stops it and all it started."""

    def __init__(self, python: Path, studies: Path, bundles: Path, log: Path, *options: str) -> None:
        self.port, self.log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [str(python), "-m", "medssm_monai.apps.label", "--studies", str(studies)]
        self.command += [
            "--bundles",
            str(bundles),
            "--models",
            "all",
            "--port",
            str(self.port),
            "--device",
            "cpu",
            *options,
        ]
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy on the way to this computer
        self.token = secrets.token_urlsafe(24)
        self.headers = {} if "--no-token" in options else {"Authorization": f"Bearer {self.token}"}
        self.session.headers.update(self.headers)
        self.temporary = log.with_name("temporary")

    def __enter__(self) -> LabelServer:
        environment = own_variables(
            "MEDSSM_BUNDLES",
            "MLFLOW_TRACKING_URI",
            PYTHONPATH=str(REPOSITORY),
            TQDM_DISABLE="1",
            TMPDIR=str(self.temporary),
            MEDSSM_LABEL_TOKEN=self.token,
        )
        self.temporary.mkdir(exist_ok=True)
        self.output = self.log.open("w")
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers()
            self.at_start = self._temporary_files()  # MONAI Label's settings of the log
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and every process of its group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(20)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.output.close()

    def _wait_until_it_answers(self) -> None:
        def answers() -> bool:
            try:
                return self.session.get(f"{self.url}/info/", timeout=60).ok
            except requests.ConnectionError:
                return False

        wait_for("answer of the server", answers, show=self.tail, pause=1, process=self.process)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]

    def uploads(self) -> list[Path]:
        """Files that stay in the server's own folder for what it receives and sends."""
        with suppress(AssertionError):  # what was sent is removed just after the answer
            wait_for("removal", lambda: self._temporary_files() <= self.at_start)
        return sorted(self._temporary_files() - self.at_start)

    def _temporary_files(self) -> set[Path]:
        (folder,) = self.temporary.glob("medssm_label_uploads_*")
        return {path for path in folder.iterdir() if path.is_file()}

    def info(self) -> dict[str, Any]:
        return self.get("/info/")

    def get(self, path: str, **params: Any) -> Any:
        answer = self.session.get(self.url + path, params=params, timeout=120)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any = None, **params: Any) -> requests.Response:
        return self.ask("POST", path, json=body, params=params)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> requests.Response:
        """An answer, whatever its status; ``headers`` instead of the token."""
        return requests.request(
            method,
            self.url + path,
            headers=self.headers if headers is None else headers,
            timeout=TASK_SECONDS,
            proxies={"http": "", "https": ""},
            **options,
        )

    def infer(self, model: str, image: str = "", /, output: str | None = None, file: Path | None = None, **params: Any):
        """The answer of ``POST /infer/MODEL``."""
        form: dict[str, Any] = {"params": (None, json.dumps(params))}
        if file is not None:
            form["file"] = (file.name, file.read_bytes())
        query = {"image": image, **({"output": output} if output else {})}
        return self.ask("POST", f"/infer/{model}", params=query, files=form)

    def save_label(self, image: str, name: str, content: bytes) -> None:
        """Save the final label of an image."""
        answer = self.session.put(
            f"{self.url}/datastore/label", params={"image": image, "tag": "final"}, files={"label": (name, content)}
        )
        assert answer.ok, answer.text

    def run_task(self, kind: str, name: str, **body: Any) -> dict[str, Any]:
        """Start a training or scoring in the background, wait for its end, and hand back its state."""
        started = self.post(f"/{kind}/{name}", body)
        assert started.ok, started.text

        def ended() -> dict[str, Any] | None:
            state = self.get(f"/{kind}/")
            over = state["id"] == started.json()["id"] and state["status"] not in ("SUBMITTED", "RUNNING")
            return state if over else None

        return wait_for(f"end of the {kind} of {name}", ended, TASK_SECONDS, self.tail, pause=1)


def parts(answer: requests.Response) -> dict[str, bytes]:
    """Parts of a multipart answer by name: ``params`` and ``image``."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content)
    found = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        found[name] = part.get_payload(decode=True)
    return found
