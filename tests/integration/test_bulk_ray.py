"""Bulk inference with Ray: several workers, one that dies, a study that kills, and a cluster of two nodes."""

from __future__ import annotations

import csv
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from medssm_monai.apps.bulk import main
from medssm_monai.apps.bulk.ray_pool import has_ray

from ..apps.bulk.pictures import contents, known_secret, write_pictures
from ..bundle.tiny_bundles import MEDCONVMAMBA, copy_bundle
from ..bundles.bundle_runs import REPOSITORY
from ..waiting import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not has_ray(), reason='Ray is not installed; pip install "medssm-monai[scale]"'),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc"),
]
COUNT = 60
ALONE = {"PYTHONPATH": str(REPOSITORY), "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("bulk")
    bundle, images = copy_bundle(MEDCONVMAMBA, place), write_pictures(place / "in", COUNT)
    quiet = known_secret(place / "quiet")
    assert main([str(bundle), str(images), str(quiet), "--workers", "1"]) == 0
    return bundle, images, contents(quiet)


def command(
    inputs, out, *more, code="from medssm_monai.apps.bulk import main; import sys; sys.exit(main(sys.argv[1:]))"
):
    words = [sys.executable, "-c", code, str(inputs[0]), str(inputs[1]), str(out), *more]
    return subprocess.Popen(
        words, env={**os.environ, **ALONE}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What it said; it does not outlive the test that waits for it."""
    try:
        return process.communicate(timeout=300)[0]
    finally:
        process.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def workers():
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().startswith(b"ray::StudyWorker"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def summary(out):
    return json.loads((out / "bulk.json").read_text(encoding="utf8"))


def test_two_workers_of_which_one_is_killed_do_the_same_and_leave_no_ray(inputs, tmp_path):
    before = set(workers())
    process = command(inputs, known_secret(tmp_path / "out"), "--workers", "2", "--ray-temp", tempfile.gettempdir())
    while process.poll() is None and len(list(tmp_path.glob("out/results/*/*/result.json"))) < 3:
        time.sleep(0.02)
    mine = sorted(set(workers()) - before)
    os.kill(mine[0], signal.SIGKILL)
    said = ended(process)
    assert process.returncode == 0, said
    assert contents(tmp_path / "out") == inputs[2]
    found = summary(tmp_path / "out")
    assert found["studies"]["done"] == COUNT and found["this run"]["workers died"] <= 1
    assert found["this run"]["engine"].startswith("Ray ") and found["this run"]["workers"] == 2
    assert not set(workers()) & set(mine)
    assert not list(Path(tempfile.gettempdir()).glob(f"medssm-ray-{process.pid}-*"))


DEADLY = """
import sys
from medssm_monai.apps.bulk import main, ray_pool
from tests.integration.bulk_workers import DeadlyWorker
ray_pool.RayPool.actor = DeadlyWorker
sys.exit(main(sys.argv[1:]))
"""


def test_a_study_that_kills_its_workers_is_named_and_the_others_are_done(inputs, tmp_path):
    out = known_secret(tmp_path / "out")
    process = command(inputs, out, "--workers", "2", "--names", code=DEADLY)
    said = ended(process)
    assert process.returncode == 3, said
    with open(out / "failures.csv", newline="", encoding="utf8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["name"], row["deaths"]) == ("Anna 1/image 7.png", "3") and row["reason"].startswith("its worker died 3")
    found = summary(out)
    assert found["studies"]["done"] == COUNT - 1 and found["this run"]["workers died"] == 3
    assert contents(out) == {name: data for name, data in inputs[2].items() if row["study"] not in name}


TWO_NODES = """
import sys, time
import ray
from medssm_monai.apps.bulk import main, ray_pool
from tests.integration.bulk_workers import SlowWorker
address = sys.argv[sys.argv.index("--address") + 1]
for _ in range(60):
    try:
        ray.init(address, logging_level=50)
        if len(ray.nodes()) == 2:
            break
        ray.shutdown()
    except ConnectionError:
        pass
    time.sleep(1)
ray.shutdown()
ray_pool.RayPool.actor = SlowWorker
sys.exit(main(sys.argv[1:]))
"""


def test_two_nodes_give_the_same_bytes(inputs, tmp_path, monkeypatch):
    ray = [str(Path(sys.executable).parent / "ray")] if (Path(sys.executable).parent / "ray").exists() else ["ray"]
    temp = Path(tempfile.mkdtemp(prefix="two-"))
    cluster = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_AUTH_MODE": "token"}
    for name, value in {**cluster, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
        monkeypatch.setenv(name, value)
    env = {**os.environ, **ALONE}
    port = "6417"
    small = ["--num-cpus", "1", "--object-store-memory", str(80 * 2**20), "--disable-usage-stats", "--block"]
    head = [*ray, "start", "--head", "--port", port, "--include-dashboard", "false", "--temp-dir", str(temp), *small]
    node = [*ray, "start", "--address", f"127.0.0.1:{port}", *small]
    nodes = []
    try:
        for words in (head, node):
            nodes.append(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait_for("head", lambda: listens(int(port)))  # a node does not wait for it
        process = command(inputs, known_secret(tmp_path / "out"), "--address", f"127.0.0.1:{port}", code=TWO_NODES)
        said = ended(process)
        assert process.returncode == 0, said
    finally:
        for one in nodes:
            one.terminate()
        for one in nodes:
            one.wait(timeout=60)
        shutil.rmtree(temp, ignore_errors=True)
    assert contents(tmp_path / "out") == inputs[2]
    found = summary(tmp_path / "out")["this run"]
    assert found["workers"] == 2 and found["engine"].endswith("on a cluster") and len(found["nodes"]) == 2
