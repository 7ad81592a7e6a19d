from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from medssm_monai.utils import user_cache as module
from medssm_monai.utils.user_cache import is_private, user_cache

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="access modes of POSIX")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """A home folder, and a place of its own for temporary files, which others may write to as to /tmp.

    Both where others can get to, which ``tmp_path`` is not.
    """
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    home, temporary = root / "home", root / "tmp"
    home.mkdir()
    temporary.mkdir()
    temporary.chmod(0o1777)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield home
    shutil.rmtree(root)


def temporary_folder(home: Path) -> Path:
    return home.parent / "tmp" / f"medssm_monai-{os.geteuid()}"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache"),
        ("linux", {"XDG_CACHE_HOME": "{root}/xdg"}, "xdg"),
        ("linux", {"XDG_CACHE_HOME": "relative/is/ignored"}, "home/.cache"),
        ("darwin", {"XDG_CACHE_HOME": "{root}/xdg"}, "home/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "{root}/local"}, "local"),
        ("win32", {}, "home/AppData/Local"),
    ],
)
def test_the_cache_folder_of_each_platform(home, monkeypatch, platform, variables, expected):
    monkeypatch.setattr(module.sys, "platform", platform)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(root=home.parent))
    assert user_cache() == home.parent / expected / "medssm_monai"
    assert user_cache().is_dir()


@posix
@pytest.mark.parametrize("value", ["/", "/no/such/home", None])
def test_without_a_home_folder_a_private_one_among_the_temporary_files(home, monkeypatch, value):
    if value is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(module.Path, "home", classmethod(refuse))  # as without an entry in the user database
    else:
        monkeypatch.setenv("HOME", value)
    folder = user_cache()
    assert folder == temporary_folder(home)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert user_cache() == folder


def refuse(cls):
    raise RuntimeError("Could not determine home directory.")


@posix
def test_nowhere_to_write(home, monkeypatch):
    monkeypatch.setattr(module, "is_writable", lambda folder: False)
    assert user_cache() is None


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_into_is_passed_over(home, monkeypatch, mode):
    folder = home / ".cache" / "medssm_monai"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert user_cache() == temporary_folder(home)
    temporary_folder(home).chmod(mode)
    assert user_cache() is None


@posix
def test_a_folder_whose_parent_others_can_change_is_passed_over(home):
    (home / ".cache").mkdir()
    (home / ".cache").chmod(0o777)
    assert user_cache() == temporary_folder(home)
    home.chmod(0o700)  # nobody else gets as far as that parent now
    assert user_cache() == home / ".cache" / "medssm_monai"


@posix
def test_a_link_to_elsewhere_is_passed_over(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    temporary_folder(home).symlink_to(elsewhere)
    assert user_cache() is None


@posix
def test_a_folder_of_somebody_else_is_not_private(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    assert is_private(folder)
    monkeypatch.setattr(module.os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert not is_private(folder)


def test_it_is_light():
    """The scan imports it, and the scan knows torch only."""
    code = "import sys, medssm_monai.utils.user_cache; print([m for m in ('monai', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
