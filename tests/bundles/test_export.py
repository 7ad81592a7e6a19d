"""What the Model Zoo asks of every bundle beyond its configs: ``ckpt_export`` works, and the folder has its layout."""

from __future__ import annotations

import json
import re

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export
from monai.data.torchscript_utils import load_net_with_metadata

from .bundle_runs import every_bundle

LAYOUT = {
    "LICENSE",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/logging.conf",
    "configs/metadata.json",
    "configs/multi_gpu_train.yaml",
    "configs/train.yaml",
    "docs/README.md",
    "docs/data_license.txt",
}
FOLDERS = {"configs", "docs", "models", "splits"}
LARGEST = 25 * 2**20
CHANNELS = {"clinical_fmamba": 2}


@every_bundle
def test_ckpt_export_traces_the_network_with_metadata_and_config(bundle, tmp_path):
    tiny = {key: bundle.tiny[key] for key in ("variant", "network_args", bundle.size_key)}
    size = [1, CHANNELS.get(bundle.name, 3), 32, 32]
    parser = ConfigParser()
    parser.read_config(bundle.config("inference.yaml"))
    parser.update({"bundle_root": str(bundle.folder), "ckpt_path": str(tmp_path / "model.pt"), **tiny})
    network = parser.get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(bundle.folder / "configs" / "metadata.json"),
        config_file=bundle.config("inference.yaml"),
        use_trace=True,
        input_shape=size,
        bundle_root=str(bundle.folder),
        ckpt_path=str(tmp_path / "model.pt"),
        **tiny,
    )
    loaded, metadata, others = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=["inference.json"])
    assert metadata["name"] == bundle.name
    assert "network_def" in json.loads(others["inference.json"])
    with torch.no_grad():
        for batch in (1, 2, 3):  # traced with one image: the batch size must not be frozen
            x = torch.rand(batch, *size[1:])
            expected = network(x)
            assert (loaded(x) - expected).abs().max() <= 1e-4 * expected.abs().max()


@every_bundle
def test_folder_has_the_layout_of_the_model_zoo(bundle):
    files = {path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()}
    assert files >= LAYOUT
    own = {name for name in files if not name.startswith(("eval/", "models/", "outputs/"))}  # the rest is a run's
    assert {name.split("/")[0] for name in own if "/" in name} <= FOLDERS
    assert all((bundle.folder / name).stat().st_size <= LARGEST for name in own)


@every_bundle
def test_version_is_a_version_and_the_changelog_says_what_it_brought(bundle):
    metadata = json.loads((bundle.folder / "configs" / "metadata.json").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert all(
        re.fullmatch(r"\d+\.\d+\.\d+", version) and text.strip() for version, text in metadata["changelog"].items()
    )


@pytest.mark.parametrize("section", ["Export", "Inference", "Limitations", "References", "License"])
@every_bundle
def test_docs_have_the_section(bundle, section):
    assert f"\n## {section}\n" in (bundle.folder / "docs" / "README.md").read_text()
