from __future__ import annotations

import shutil
import subprocess

import pytest

from medssm_monai.utils.checkout import checkout_state


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def package(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "checkout" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    git(tmp_path / "checkout", "init", "-q")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "-qm", "first")
    return folder


def test_the_commit_and_whether_files_were_changed(package):
    commit = git(package, "rev-parse", "HEAD").strip()
    assert checkout_state(package) == {"commit": commit, "changed": False}
    (package / "__init__.py").write_text("x = 1")
    assert checkout_state(package) == {"commit": commit, "changed": True}
    git(package, "commit", "-qam", "second")
    state = checkout_state(package)
    assert state is not None and state["commit"] != commit and not state["changed"]
    (package / "new.py").write_text("")
    assert checkout_state(package)["changed"]


def test_a_package_that_is_no_part_of_the_checkout_has_no_commit(package, tmp_path, monkeypatch):
    installed = package.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert checkout_state(installed) is None
    assert checkout_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert checkout_state(package) is None
