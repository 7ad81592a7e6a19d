"""Hostile settings of the served weights, and of a request, are refused before a training starts."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from medssm_monai.apps.label.served import ServedModel

from ...bundle.tiny_bundles import MAMBA_MIS, copy_bundle


@pytest.fixture
def training(monkeypatch):
    """The module of the training, with stand-ins for what it takes from MONAI Label, and no program that starts."""
    for name in ("", ".interfaces", ".interfaces.datastore", ".interfaces.tasks", ".interfaces.tasks.train"):
        monkeypatch.setitem(sys.modules, f"monailabel{name}", ModuleType(f"monailabel{name}"))
    store = sys.modules["monailabel.interfaces.datastore"]
    store.Datastore, store.DefaultLabelTag = object, SimpleNamespace(FINAL="final")
    sys.modules["monailabel.interfaces.tasks.train"].TrainTask = type("T", (), {"__init__": lambda self, about: None})
    monkeypatch.delitem(sys.modules, "medssm_monai.apps.label.train", raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **more: pytest.fail(f"a program was started: {words}"))
    yield importlib.import_module("medssm_monai.apps.label.train")
    sys.modules.pop("medssm_monai.apps.label.train", None)


EMPTY = SimpleNamespace(get_labeled_images=lambda: [])
HOSTILE = [
    ({"network_args": {"scan": "$open('ran', 'w')"}}, "network_args, scan is .*expected a word"),
    ({"network_args": {"depths": [10**9, 1, 1, 1]}}, "network_args, depths is .*expected a list of 1 to 8 whole"),
    ({"variant": "$open('ran', 'w')"}, "variant is .*expected a word"),
    ({"in_channels": "@bundle_root"}, "in_channels is .*expected a whole number"),
    ({"image_size": [10**6, 10**6]}, "image_size is "),
]


@pytest.mark.parametrize(("wrong", "message"), HOSTILE, ids=[str(wrong)[:50] for wrong, _ in HOSTILE])
def test_hostile_settings_of_the_served_weights(tmp_path, monkeypatch, training, wrong, message):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    (root / "models" / "model.json").write_text(json.dumps({**MAMBA_MIS.settings, **wrong}))
    monkeypatch.setenv("MEDSSM_BUNDLES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    task = training.BundleTrain(ServedModel("mamba_mis", device="cpu"), tmp_path / "runs")
    monkeypatch.setattr(task, "_data_settings", lambda *_: ({"dataset_dir": tmp_path}, {}))
    with pytest.raises(Exception, match=f"model.json: {message}"):
        task({}, EMPTY)
    assert not (tmp_path / "ran").exists()


def test_such_values_in_a_request(tmp_path, monkeypatch, training):
    copy_bundle(MAMBA_MIS, tmp_path)
    monkeypatch.setenv("MEDSSM_BUNDLES", str(tmp_path))
    task = training.BundleTrain(ServedModel("mamba_mis", device="cpu"), tmp_path / "runs")
    monkeypatch.setattr(task, "_data_settings", lambda *_: ({"dataset_dir": tmp_path}, {}))
    with pytest.raises(ValueError, match="training: network_args, d_state is 4000; .*Ask for another value"):
        task({"overrides": {"network_args": {"d_state": 4000}}}, EMPTY)
