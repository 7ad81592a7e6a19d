"""The name that pydicom 3 dropped, for pydicom-seg."""

from __future__ import annotations

import importlib
import sys

import pytest

from medssm_monai.apps.label.pydicom_names import DROPPED, restore_pydicom_names

pydicom = pytest.importorskip("pydicom", reason='pydicom is not installed; pip install "medssm-monai[dicom]"')


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder that packages are imported from first, without ``pydicom_seg`` and without the dropped name."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("pydicom_seg", DROPPED):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    sys.modules.pop(DROPPED, None)


def test_pydicom_seg_can_be_imported_beside_pydicom_3(packages):
    (packages / "pydicom_seg.py").write_text("from pydicom._storage_sopclass_uids import SegmentationStorage as UID\n")
    importlib.invalidate_caches()
    restore_pydicom_names()
    restore_pydicom_names()
    assert importlib.import_module("pydicom_seg").UID == "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.mark.skipif(int(pydicom.__version__.split(".")[0]) < 3, reason="this pydicom has the name itself")
def test_nothing_is_put_in_where_nobody_needs_it(packages, monkeypatch):
    monkeypatch.setattr("medssm_monai.apps.label.pydicom_names.find_spec", lambda name: None)
    restore_pydicom_names()
    assert DROPPED not in sys.modules
