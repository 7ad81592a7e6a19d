"""The bundles to all three formats, on real images, run in the real runtimes; networks in their default sizes.

Needs the extra ``onnx``. Weights: those that come with the bundles.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from medssm_monai.export import FORMATS, export_bundle
from medssm_monai.export.onnx_file import INPUT, OUTPUT, require
from medssm_monai.export.source import open_source

from ..bundles.bundle_runs import REPOSITORY, program
from .exact_outputs import assert_close_to_exact

pytestmark = [pytest.mark.integration, pytest.mark.realdata]


@dataclass(frozen=True)
class Subject:
    """A bundle, the real images it is compared on, and what its ONNX file should hold."""

    bundle: str
    images: str
    shape: tuple[int, ...]
    scans: int
    stem: str = "model"
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.bundle


SUBJECTS = (
    Subject("mamba_mis", "isic2017/ISIC-2017_Validation_Data", (3, 128, 128), 23),
    Subject("medconvmamba", "covid_xray/Normal", (1, 28, 28), 7),
    Subject("medspectralnet", "brain_tumor_mri/Testing/glioma", (1, 96, 96), 0),
    pytest.param(
        Subject(
            "clinical_fmamba",
            "harvard_mri_ct/test",
            (2, 128, 128),  # windows of the slices
            19,
            options=("--override", "sources=['MRI', 'CT']", "sliding_window=True", "roi_size=[128,128]"),
        ),
        marks=pytest.mark.thorough,
    ),
)


@pytest.fixture(scope="module", params=SUBJECTS, ids=str)
def export(request, real_data, tmp_path_factory):
    """The bundle exported once, as a user does it: subject, folder of the files, what the program said."""
    require()  # without the extra ``onnx`` this is an error that says how to install it
    subject = request.param
    out = tmp_path_factory.mktemp(subject.bundle)
    words = ["-m", "medssm_monai.export", str(REPOSITORY / "bundles" / subject.bundle), "--output_dir", str(out)]
    words += ["--images", str(real_data / subject.images), "--samples", "6", "--repeats", "3", *subject.options]
    return subject, out, program(words, out, OMP_NUM_THREADS="1")


def report_of(subject: Subject, out: Path) -> dict:
    return json.loads((out / f"{subject.stem}_export.json").read_text())


def test_every_file_is_blessed_on_real_images(export):
    subject, out, done = export
    assert done.returncode == 0, done.stdout + done.stderr
    report = report_of(subject, out)
    assert report["passed"] and tuple(report["input_shape"]) == subject.shape and report["batch_sizes"] == [1, 2, 3]
    assert {one["format"] for one in report["formats"]} == set(FORMATS)
    for one in report["formats"]:
        assert (out / one["file"]).stat().st_size == one["size"] > 0
        assert one["seconds"] > 0
        (error,) = (check["value"] for check in one["checks"] if check["name"] == "relative error")
        assert error <= 1e-4
    assert not list(out.glob("*.unverified*")) and not list(out.glob("*.refused*"))
    print(done.stdout)


def test_runtimes_give_what_the_network_gives_in_float64_on_other_inputs(export):
    """Independent of the exporter's own comparison: three runtimes, a batch size and inputs that it did not use."""
    subject, out, _ = export
    coarse = torch.rand(4, subject.shape[0], 16, 16, generator=torch.Generator().manual_seed(7))
    x = torch.nn.functional.interpolate(coarse, subject.shape[1:], mode="bilinear")  # structures, as images have
    with torch.no_grad():
        results = {name: one.load(out / f"{subject.stem}{one.suffix}")(x) for name, one in FORMATS.items()}
    network = open_source(REPOSITORY / "bundles" / subject.bundle).network
    assert assert_close_to_exact(network, x, results).shape[0] == 4


def test_onnx_file_is_sound_and_holds_one_scan_node_for_each_scan(export):
    import onnx
    import onnxruntime

    subject, out, _ = export
    path = out / f"{subject.stem}.onnx"
    onnx.checker.check_model(str(path))
    model = onnx.load(str(path))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Scan") == subject.scans
    assert "DFT" not in kinds
    carried = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(carried["metadata.json"])["name"] == subject.bundle
    assert str(REPOSITORY).encode() not in path.read_bytes()  # no path of the machine that made it
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == [INPUT]
    wrong = np.zeros((1, subject.shape[0], *(size + 32 for size in subject.shape[1:])), np.float32)
    with pytest.raises(Exception, match="[Ii]nvalid dimensions"):
        session.run([OUTPUT], {INPUT: wrong})


def test_exported_program_runs_without_this_package(export):
    subject, out, _ = export
    code = (
        "import sys, torch; "
        f"net = torch.export.load({str(out / f'{subject.stem}.pt2')!r}).module(); "
        f"net(torch.rand(1, *{subject.shape})); "
        "sys.exit('medssm_monai' in sys.modules)"
    )
    done = program(["-c", code], out)
    assert done.returncode == 0, done.stderr


def test_onnx_file_of_other_weights_is_refused(tmp_path, monkeypatch, real_data):
    """The comparison sees an error of one per cent in one layer, in ONNX's own runtime."""
    one = FORMATS["onnx"]

    def write(capture, path, extra):
        with torch.no_grad():
            capture.network.head.weight.mul_(1.01)
            one.write(capture, path, extra)
            capture.network.head.weight.div_(1.01)

    monkeypatch.setitem(FORMATS, "onnx", dataclasses.replace(one, write=write))
    tiny = {"network_args": {"embed_dim": 16, "depth": 1, "d_state": 2}, "image_size": [32, 32], "in_channels": 3}
    bundle = REPOSITORY / "bundles" / "medconvmamba"
    images = real_data / "covid_xray" / "Normal"
    report = export_bundle(bundle, ["onnx"], tmp_path / "out", images=images, untrained=True, repeats=0, overrides=tiny)
    assert not report.passed
    assert "relative error" in report.formats[0].failures[0]
    assert not (tmp_path / "out" / "untrained.onnx").exists()
