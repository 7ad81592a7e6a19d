"""Mamba-MIS for volumes in ``torch.export`` and ONNX Runtime, every part of it; needs the extra ``onnx``."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.export import onnx_file
from medssm_monai.export.capture import Capture
from medssm_monai.networks.nets import mamba_mis_3d_s

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

SMALL = {"base_dim": 8, "d_state": 4, "depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1, 1, 1), "out_channels": 2}


@pytest.fixture(scope="module")
def captured():
    torch.manual_seed(0)
    strides = ((4, 4, 2), 2, 2, (2, 2, 1))
    network = mamba_mis_3d_s(**SMALL, img_size=(32, 32, 8), strides=strides, spectral_grid=6).eval()
    return Capture(network.requires_grad_(False), torch.randn(2, 1, 32, 64, 8))


def test_the_exported_program_needs_no_fourier_transform_and_takes_any_batch(captured):
    assert not any("fft" in str(node.target) for node in captured.program.graph.nodes)
    images = torch.randn(3, 1, 32, 64, 8)
    expected = captured.network(images)
    assert (captured.program.module()(images) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_onnx_runtime_gives_the_same(captured, tmp_path):
    onnx_file.write(captured, tmp_path / "volumes.onnx", {})
    assert onnx_file.facts(tmp_path / "volumes.onnx")["scan_nodes"] == 17  # 9 blocks, 2 of each level's attention
    run = onnx_file.load(tmp_path / "volumes.onnx")
    for batch in (1, 3):
        images = torch.randn(batch, 1, 32, 64, 8)
        expected = captured.network(images)
        assert (run(images) - expected).abs().max() <= 1e-4 * expected.abs().max()
