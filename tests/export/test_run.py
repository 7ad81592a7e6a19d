"""The whole way of an export, on a tiny network: files, report, refusal, command line."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data.torchscript_utils import load_net_with_metadata

from medssm_monai.export import FORMATS, export_bundle
from medssm_monai.export.__main__ import _parser, main
from medssm_monai.export.source import open_source

from ..bundle.tiny_bundles import MEDSPECTRALNET, copy_bundle
from ..bundles.bundle_runs import MEDCONVMAMBA

TINY = {"network_args": {"embed_dim": 16, "depth": 1, "d_state": 2}, "image_size": [32, 32], "in_channels": 3}


@pytest.fixture
def images(tmp_path, write_picture):
    return write_picture(tmp_path / "images" / "a.png", 40, 36).parent


def run(formats, out, images, **more):
    return export_bundle(
        MEDCONVMAMBA.folder, formats, out, images=images, untrained=True, repeats=1, overrides=TINY, **more
    )


@pytest.mark.parametrize("name", ["torchscript", "exported"])
def test_a_faithful_export_gets_its_name_and_carries_the_bundle(name, tmp_path, images):
    report = run([name], tmp_path, images)
    assert report.passed
    (entry,) = report.formats
    path = tmp_path / f"untrained{FORMATS[name].suffix}"
    assert entry.file == path.name and entry.size == path.stat().st_size
    assert {check.name for check in entry.checks} == {"carried files", "relative error", "equal classes"}
    assert entry.seconds > 0 and report.eager_seconds > 0
    carried = dict.fromkeys(["metadata.json", "inference.json", "model_settings.json"], "")
    FORMATS[name].load(path, carried)
    found = {key: json.loads(text) for key, text in carried.items()}
    assert found["metadata.json"] == json.loads((MEDCONVMAMBA.folder / "configs" / "metadata.json").read_text())
    assert {"preprocessing", "network_def", "postprocessing"} <= found["inference.json"].keys()
    assert found["model_settings.json"]["class_names"]
    assert found["inference.json"]["model_settings"] == found["model_settings.json"]
    assert {key: found["inference.json"][key] for key in TINY} == TINY
    assert found["inference.json"]["bundle_root"] == "."  # and no place of this computer
    assert not any(str(place) in json.dumps(found) for place in (MEDCONVMAMBA.folder, tmp_path))
    written = json.loads((tmp_path / "untrained_export.json").read_text())
    assert written["passed"] is True and written["input_shape"] == [3, 32, 32]
    assert "passed: relative error" in (tmp_path / "untrained_export.md").read_text()


def test_names_of_classes_stay_data_in_what_an_export_carries(tmp_path, monkeypatch):
    """A host reads ``inference.json`` with a parser that runs texts which start with ``$``."""
    root = copy_bundle(MEDSPECTRALNET, tmp_path)
    settings = json.loads((root / "models" / "model.json").read_text())
    names = ["$open('ran', 'w')", "@bundle_root", *settings["class_names"][2:]]
    (root / "models" / "model.json").write_text(json.dumps({**settings, "class_names": names}))
    monkeypatch.chdir(tmp_path)
    carried = ConfigParser(json.loads(open_source(root).extra["inference.json"]))
    assert carried.get_parsed_content("class_names") == names
    assert not (tmp_path / "ran").exists()


def test_torchscript_is_what_monai_deploy_reads(tmp_path, images):
    run(["torchscript"], tmp_path, images)
    network, metadata, others = load_net_with_metadata(
        str(tmp_path / "untrained.ts"), more_extra_files=["inference.json"]
    )
    with zipfile.ZipFile(tmp_path / "untrained.ts") as archive:  # where the SDK looks for the other files
        assert "untrained/extra/inference.json" in archive.namelist()
    assert metadata["network_data_format"] and b"preprocessing" in others["inference.json"]
    assert network(torch.rand(5, 3, 32, 32)).shape == (5, 2)


def _altered(one):
    """The format, but its files hold a network with other weights."""

    def write(capture, path, extra):
        with torch.no_grad():
            capture.network.head.weight.mul_(1.01)
        one.write(capture, path, extra)
        with torch.no_grad():
            capture.network.head.weight.div_(1.01)

    return dataclasses.replace(one, write=write)


def test_a_file_with_other_weights_is_refused(tmp_path, images, monkeypatch):
    earlier = tmp_path / "untrained.ts"
    earlier.write_bytes(b"of an earlier run")
    monkeypatch.setitem(FORMATS, "torchscript", _altered(FORMATS["torchscript"]))
    report = run(["torchscript"], tmp_path, images)
    assert not report.passed
    (entry,) = report.formats
    assert [failure.split(" 0")[0] for failure in entry.failures] == ["relative error"]
    assert entry.seconds is None
    assert earlier.read_bytes() == b"of an earlier run"  # what has not passed moves nothing
    assert entry.file == "untrained.refused.ts" and (tmp_path / entry.file).is_file()
    assert not list(tmp_path.glob("untrained_2*.ts"))
    assert re.search(r"refused\*\*: relative error 0\.0\d", (tmp_path / "untrained_export.md").read_text())


def test_an_earlier_file_makes_room_for_one_that_has_passed(tmp_path, images):
    earlier = tmp_path / "untrained.ts"
    earlier.write_bytes(b"of an earlier run")
    assert run(["torchscript"], tmp_path, images).passed
    assert earlier.stat().st_size > 1000
    assert [path.read_bytes() for path in tmp_path.glob("untrained_2*.ts")] == [b"of an earlier run"]


def test_a_frozen_batch_size_is_refused(tmp_path, images, monkeypatch):
    class Frozen(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x).reshape(2, -1)

    one = FORMATS["torchscript"]

    def write(capture, path, extra):
        one.write(dataclasses.replace(capture, network=Frozen(capture.network)), path, extra)

    monkeypatch.setitem(FORMATS, "torchscript", dataclasses.replace(one, write=write))
    report = run(["torchscript"], tmp_path, images)
    assert not report.passed
    assert any("output shape" in failure for failure in report.formats[0].failures)


def test_a_file_without_the_bundle_s_metadata_is_refused(tmp_path, images, monkeypatch):
    one = FORMATS["torchscript"]

    def write(capture, path, extra):
        one.write(capture, path, {**extra, "metadata.json": "{}"})

    monkeypatch.setitem(FORMATS, "torchscript", dataclasses.replace(one, write=write))
    report = run(["torchscript"], tmp_path, images)
    assert report.formats[0].failures == ["carried files missing or changed: metadata.json (limit: all)"]


def test_an_exporter_that_fails_is_reported_and_the_others_go_on(tmp_path, images, monkeypatch):
    def write(capture, path, extra):
        raise RuntimeError("no kernel for this\nlong explanation")

    monkeypatch.setitem(FORMATS, "exported", dataclasses.replace(FORMATS["exported"], write=write))
    report = run(["exported", "torchscript"], tmp_path, images)
    assert [entry.passed for entry in report.formats] == [False, True]
    assert "RuntimeError: no kernel for this" in report.formats[0].failures[0]
    assert report.formats[0].file == "" and not (tmp_path / "untrained.pt2").exists()


def test_unknown_format_is_named(tmp_path, images):
    with pytest.raises(ValueError, match="unknown formats .'tflite'.*torchscript"):
        run(["tflite"], tmp_path, images)


def test_missing_onnx_names_the_extra(tmp_path, images, monkeypatch):
    monkeypatch.setattr("medssm_monai.export.onnx_file.optional_import", lambda name: (None, name != "onnxscript"))
    with pytest.raises(ImportError, match=r"needs onnxscript: .*medssm-monai\[onnx\]"):
        run(["onnx"], tmp_path, images)


def command(out, *more):
    words = [str(MEDCONVMAMBA.folder), "--formats", "torchscript", "--output_dir", str(out), "--repeats", "1", *more]
    overrides = [f"{key}={value}" for key, value in TINY.items()]
    return [*words, "--override", *overrides]


def test_command_prints_the_report_and_says_how_it_went(tmp_path, images, monkeypatch, capsys):
    assert main(command(tmp_path, "--untrained", "--images", str(images))) == 0
    assert "# Export of medconvmamba 0.1.0: passed" in capsys.readouterr().out
    monkeypatch.setitem(FORMATS, "torchscript", _altered(FORMATS["torchscript"]))
    assert main(command(tmp_path, "--untrained", "--images", str(images))) == 1
    assert "FAILED" in capsys.readouterr().out


def test_command_ends_with_one_clear_line(tmp_path, capsys):
    assert main(command(tmp_path, "--ckpt_path", str(tmp_path / "none.pt"))) == 2
    assert capsys.readouterr().err.startswith(
        "python -m medssm_monai.export: trained weights of medconvmamba not found"
    )


def test_overrides_of_several_options_are_all_taken():
    options = _parser().parse_args(["bundle", "--override", "a=1", "--override", "b=[2, 3]", "c=$@a"])
    assert options.override == [("a", 1), ("b", [2, 3]), ("c", "$@a")]
