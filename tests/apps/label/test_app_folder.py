"""The folder that MONAI Label's server starts from."""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace

import pytest

from medssm_monai.apps.label.__main__ import ENTRY, prepare_app


def test_the_app_folder_gets_the_entry_file_anew(tmp_path):
    for _ in range(2):
        prepare_app(tmp_path / "app")
        assert (tmp_path / "app" / "main.py").read_text() == ENTRY.read_text()
        (tmp_path / "app" / "main.py").write_text("import medssm_monai  # of an earlier version")


def test_another_app_is_not_overwritten(tmp_path):
    (tmp_path / "main.py").write_text("class OtherApp: ...")
    with pytest.raises(SystemExit, match="belongs to another app"):
        prepare_app(tmp_path)
    assert (tmp_path / "main.py").read_text() == "class OtherApp: ..."


def test_the_entry_file_stands_alone_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "medssm_monai.apps.label.app", SimpleNamespace(BundleApp="the app"))
    prepare_app(tmp_path / "app")
    assert runpy.run_path(str(tmp_path / "app" / "main.py"))["BundleApp"] == "the app"
