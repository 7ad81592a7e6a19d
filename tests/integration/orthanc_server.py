"""A real Orthanc with our plugin, workers beside it, and a DICOM receiver, all on the loopback interface."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import requests

from medssm_monai.apps.dicom.in_orthanc.study_queue import StudyQueue
from medssm_monai.apps.dicom.orthanc_config import CONFIG, PASSWORD, PLUGIN_FOLDERS, QUEUE, USER

from ..waiting import wait_for
from .label_server import REPOSITORY, free_port

MODULE = "medssm_monai.apps.dicom.orthanc"
BUNDLE = "medspectralnet"


def missing() -> str:
    """Why the tests cannot run here; empty where they can."""
    if shutil.which("Orthanc") is None and not Path("/usr/sbin/Orthanc").is_file():
        return "Orthanc is not installed (apt-get install orthanc)"
    if not any(list(Path(folder).glob("libOrthancPython.so*")) for folder in PLUGIN_FOLDERS):
        return "Orthanc's Python plugin is not installed (apt-get install orthanc-python)"
    programs = [name for name in ("storescu", "storescp") if shutil.which(name) is None]
    return f"{', '.join(programs)} not installed (apt-get install dcmtk)" if programs else ""


class Served:
    """One folder of a server; use it in a ``with`` block, which ends all it started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.storage = folder, folder / "storage"
        self.http, self.dicom, self.receiver_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.received = folder / "received"
        self.received.mkdir()
        self.processes: list[subprocess.Popen] = []
        self.logs: dict[str, Path] = {
            name: folder / f"{name}.log" for name in ("orthanc", "worker", "receiver", "sender")
        }
        self.session = requests.Session()
        self.session.trust_env = False
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "PASSIVE"}

    def __enter__(self) -> Served:
        try:
            self._run("receiver", "storescp", "-od", str(self.received), "--unique-filenames", str(self.receiver_port))
            self.start_orthanc()
            self.start_worker()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            end(process, signal.SIGKILL)

    def _run(self, name: str, *command: str) -> subprocess.Popen:
        with self.logs[name].open("a") as log:
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", MODULE, *words, "--storage", str(self.storage)]

    def ask(self, *words: str) -> str:
        """What a command prints."""
        done = subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_orthanc(self) -> None:
        options = ["--http-port", str(self.http), "--dicom-port", str(self.dicom), "--stable-age", "1"]
        options += ["--modality", "this_computer=STORESCU@127.0.0.1:104"]
        options += ["--modality", f"receiver=STORESCP@127.0.0.1:{self.receiver_port}"]
        bundles = [] if (self.storage / CONFIG).exists() else [BUNDLE]
        self.orthanc = self._run("orthanc", *self.command("start", *bundles, *options))
        wait_for("file with the password", (self.storage / PASSWORD).is_file, show=self.show)
        self.session.auth = (USER, (self.storage / PASSWORD).read_text().strip())
        wait_for("answer of Orthanc", self._answers, show=self.show, process=self.orthanc)

    def _answers(self) -> bool:
        try:
            return self.session.get(f"{self.url}/system", timeout=5).ok
        except requests.ConnectionError:
            return False

    def start_worker(self, *options: str) -> None:
        lines = self.worker_log().count("Working as")
        options = ("--objects", "report", "--lease", "3", "--poll", "0.1", "--max-attempts", "2", *options)
        self.worker = self._run("worker", *self.command("work", BUNDLE, *options))
        wait_for("worker", lambda: self.worker_log().count("Working as") > lines, show=self.show)

    def worker_log(self) -> str:
        return self.logs["worker"].read_text() if self.logs["worker"].exists() else ""

    def show(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in self.logs.values() if path.exists())

    def get(self, path: str) -> Any:
        answer = self.session.get(self.url + path, timeout=30)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def send(self, *files: Path) -> None:
        """C-STORE to Orthanc; tried again while it is not there."""
        command = ["storescu", "-aec", "ORTHANC", "127.0.0.1", str(self.dicom), *map(str, files)]

        def sent() -> bool:
            with self.logs["sender"].open("a") as log:
                return subprocess.run(command, stdout=log, stderr=log, timeout=60).returncode == 0

        wait_for("answer to storescu", sent, show=self.show, pause=0.3)

    def results(self, study_uid: str) -> list[pydicom.Dataset]:
        """Our objects in a study."""
        answer = self.session.post(f"{self.url}/tools/lookup", data=study_uid, timeout=30).json()
        if not answer:
            return []
        series = self.get(f"/studies/{answer[0]['ID']}/series")
        ours = [one for one in series if one["MainDicomTags"].get("Manufacturer") == "medssm-monai"]
        return [
            pydicom.dcmread(io.BytesIO(self.session.get(f"{self.url}/instances/{name}/file", timeout=30).content))
            for one in ours
            for name in one["Instances"]
        ]

    def queue(self) -> StudyQueue:
        return StudyQueue(self.storage / QUEUE)

    def wait_until_done(self, count: int) -> None:
        """Until so many items are done, and none waits or runs."""

        def done() -> bool:
            if not (self.storage / QUEUE).exists():
                return False
            counts = self.queue().counts()
            return counts["done"] >= count and not counts["waiting"] + counts["running"]

        wait_for(f"end of {count} items", done, show=self.show)


def end(process: subprocess.Popen, number: int, seconds: float = 30.0) -> int:
    """End a process and those it started; its exit status."""
    if process.poll() is None:
        os.killpg(process.pid, number)
    return process.wait(seconds)
