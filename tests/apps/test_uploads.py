"""What clients send does not stay behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medssm_monai.apps.label.requests import is_handed_over
from medssm_monai.apps.uploads import forget_upload, private_uploads

REPOSITORY = Path(__file__).resolve().parents[3]


def test_uploads_lie_in_a_folder_of_the_servers_own_that_goes_with_it():
    before = tempfile.gettempdir()
    with tempfile.NamedTemporaryFile(suffix=".png") as elsewhere, private_uploads() as folder:
        with tempfile.NamedTemporaryFile(suffix=".png") as named:
            upload = Path(named.name)  # MONAI Label takes this name
        upload.write_bytes(b"a patient")
        assert upload.parent == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 or os.name == "nt"
        assert is_handed_over(str(upload)) and not is_handed_over(elsewhere.name)
    assert not folder.exists()
    assert tempfile.gettempdir() == before


def test_an_upload_is_forgotten_and_nothing_else(tmp_path):
    other = tmp_path / "image.png"
    other.write_bytes(b"x")
    with tempfile.NamedTemporaryFile() as shared:
        assert not forget_upload(shared.name)  # the computer's folder: not only uploads lie there
        with private_uploads() as folder:
            upload = folder / "image.png"
            upload.write_bytes(b"a patient")
            (folder / "inner").mkdir()
            for path in (
                other,
                shared.name,
                folder / "none.png",
                folder / "inner",
                f"{folder}/../{other.name}",
                "",
                "None",
            ):
                assert not forget_upload(str(path))
            assert forget_upload(str(upload))
            assert not upload.exists()
        assert os.path.exists(shared.name)
    assert other.exists()


PROGRAM = """
import os, signal, sys
from medssm_monai.apps.uploads import private_uploads
with private_uploads() as folder:
    (folder / "image.png").write_bytes(b"a patient")
    print(folder, flush=True)
    {end}
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program can answer")
@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 128 + signal.SIGTERM),
    ],
)
def test_however_the_server_ends_its_uploads_are_gone(end, status):
    program = PROGRAM.format(end=end)
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
def test_what_a_killed_server_has_left_goes_with_the_start_of_the_next(tmp_path):
    command, environment = (
        [sys.executable, "-c", PROGRAM.format(end="signal.pause()")],
        {**os.environ, "TMPDIR": str(tmp_path)},
    )
    running = [
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    killed, alive = (Path(process.stdout.readline().strip()) for process in running)
    running[0].kill()
    running[0].wait()
    foreign = tmp_path / "medssm_label_uploads_by_another_program"
    foreign.mkdir()
    done = subprocess.run([*command[:2], PROGRAM.format(end="pass")], cwd=REPOSITORY, env=environment, check=False)
    assert done.returncode == 0
    assert (alive / "image.png").exists()
    running[1].terminate()
    running[1].wait()
    assert not killed.exists()
    assert foreign.exists()
    assert not alive.exists()
