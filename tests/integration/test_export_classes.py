"""Exports of networks of several classes, in pictures and volumes, by the program that a user runs.

Small networks, trained for one epoch; needs the extra ``onnx``.
"""

from __future__ import annotations

import json

import pytest
import torch

import medssm_monai
from medssm_monai.data import LabelSet
from medssm_monai.export import FORMATS
from medssm_monai.export.onnx_file import require

from ..bundles.bundle_runs import MAMBA_MIS, REPOSITORY, program
from ..bundles.class_sets import FOUR, REGIONS, ClassSet
from ..thorough import first_of
from .exact_outputs import assert_close_to_exact

pytestmark = pytest.mark.integration

CASES = (
    ClassSet("regions 3D", 3, REGIONS, channels=2),
    ClassSet("four classes 2D", 2, FOUR),
)
SMALL = {
    "base_dim": 8,
    "d_state": 4,
    "strides": [2, 2, 2, 2],
    "depths": [1, 1, 1, 1],
    "decoder_depths": [1, 1, 1, 1, 1],
}


@pytest.fixture(scope="module", params=first_of(CASES), ids=str)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def exported(case, tmp_path_factory):
    """Folder of the weights, with the exported files beside them."""
    require()  # without the extra ``onnx`` this is an error that says how to install it
    out = tmp_path_factory.mktemp("export")
    settings = case.tiny | {"ema_decay": 0, "learning_rate": 0.01, "network_args": SMALL}
    MAMBA_MIS.run(case.overlays, out, dataset_dir=str(case.write(out / "data")), run_name="first", **settings)
    models = out / "models"
    words = ["-m", "medssm_monai.export", str(REPOSITORY / "bundles" / "mamba_mis")]
    words += ["--ckpt_path", str(models / "model.pt"), "--output_dir", str(models), "--samples", "3", "--repeats", "0"]
    done = program(words, out, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return models


@pytest.fixture(scope="module")
def opened(exported):
    """By format: the function that its file holds, and the settings that it carries."""
    found = {}
    for name, one in FORMATS.items():
        carried = {"model_settings.json": ""}
        found[name] = (one.load(exported / f"model{one.suffix}", carried), carried)
    return found


def test_every_file_is_blessed_with_its_classes(case, exported, opened):
    report = json.loads((exported / "model_export.json").read_text())
    channels = 3 if case.spatial_dims == 2 else case.channels
    assert report["passed"] and report["input_shape"] == [channels, *case.tiny["image_size"]]
    assert {one["format"] for one in report["formats"]} == set(FORMATS)
    for one in report["formats"]:
        names = {check["name"] for check in one["checks"]}
        assert "relative error" in names and len(names) > 2  # and that what it decides is the same
    for name, (_, carried) in opened.items():
        settings = json.loads(carried["model_settings.json"])
        assert LabelSet.of(settings["labels"]) == LabelSet.of(case.labels), name
        assert settings["spatial_dims"] == case.spatial_dims


def test_runtimes_decide_as_pytorch_on_other_inputs(case, exported, opened):
    """A batch size and inputs that the exporter did not compare."""
    labels = LabelSet.of(case.labels)
    network = medssm_monai.load(MAMBA_MIS.folder, ckpt_path=exported / "model.pt", device="cpu").network
    channels = 3 if case.spatial_dims == 2 else case.channels
    x = torch.randn(4, channels, *case.tiny["image_size"], generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        results = {name: torch.as_tensor(run(x)) for name, (run, _) in opened.items()}
    truth = assert_close_to_exact(network, x, results)
    assert truth.shape == (4, labels.out_channels, *case.tiny["image_size"])
    if labels.softmax:
        for name, result in results.items():
            assert (result.argmax(1) == truth.argmax(1)).float().mean() >= 0.999, name
