"""The commands that copy, pack and check a bundle: what they print, and their exit status."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from medssm_monai.apps.bundles import main

from ..bundle.packable import packable, write_weights


def test_copy_pack_and_verify(tmp_path, capsys, monkeypatch):
    root = packable(tmp_path / "bundles")
    monkeypatch.chdir(tmp_path)
    assert main(["copy", str(root), "mine"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "mine/mamba_mis",
        "Train it: python -m monai.bundle run training --config_file mine/mamba_mis/configs/train.yaml",
    ]
    own = write_weights(tmp_path / "run" / "model.pt", card=True)
    assert main(["pack", "mine/mamba_mis", "out", "--ckpt_path", str(own)]) == 0
    digest = hashlib.sha256((tmp_path / "out" / "mamba_mis_v0.1.0.zip").read_bytes()).hexdigest()
    assert capsys.readouterr().out.startswith("out/mamba_mis_v0.1.0.zip (1.")
    assert main(["verify", "out/mamba_mis_v0.1.0.zip"]) == 0
    assert f"SHA-256 {digest}): 24 files, all as they were packed" in capsys.readouterr().out


def test_what_is_wrong_is_one_line_and_a_status(tmp_path, capsys):
    (tmp_path / "x.zip").write_text("no archive")
    assert main(["verify", str(tmp_path / "x.zip")]) == 1
    assert "x.zip is not to be used:\n  no whole zip file" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "none.zip")]) == 2
    assert main(["copy", "mamba", str(tmp_path)]) == 2
    assert "FileNotFoundError: no bundle 'mamba' (meant: " in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["pack", "mamba_mis"])
    assert ended.value.code == 2


def test_it_is_a_program():
    done = subprocess.run([sys.executable, "-m", "medssm_monai.apps.bundles", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "copy" in done.stdout and "verify" in done.stdout
