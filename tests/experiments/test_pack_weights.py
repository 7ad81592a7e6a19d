"""Packing a checkpoint: half precision that loads as before, refused where it cannot hold the values."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from torch import nn

from medssm_monai.experiments import pack_weights


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(f'{{"variant": "x", "weights_sha256": "{"0" * 64}", "trained_on": "isic"}}')
    return network


def test_packed_weights_load_into_a_float_network_with_half_s_rounding(trained, tmp_path, capsys):
    target = tmp_path / "models" / "packed.pt"
    assert pack_weights.main([str(tmp_path / "model.pt"), str(target)]) == 0
    assert "MiB, SHA-256" in capsys.readouterr().out
    packed = torch.load(target, weights_only=True)
    assert packed["0.weight"].dtype == torch.float16 and packed["1.num_batches_tracked"].dtype == torch.int64
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    other.load_state_dict(packed)
    assert all(parameter.dtype == torch.float32 for parameter in other.parameters())
    torch.testing.assert_close(other[0].weight, trained[0].weight, rtol=2**-11, atol=1e-7)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()  # of the packed file, not of the one it was made from
    settings = json.loads(target.with_suffix(".json").read_text())
    assert settings == {"variant": "x", "weights_sha256": digest, "trained_on": "isic"}


def test_values_beyond_half_precision_are_named(trained):
    with torch.no_grad():
        trained[1].running_var[0] = 1e5
    with pytest.raises(ValueError, match=r"1\.running_var.*half precision cannot hold"):
        pack_weights.halved(trained.state_dict())


def test_what_cannot_be_packed_is_one_line_and_leaves_nothing(trained, tmp_path, capsys):
    with torch.no_grad():
        trained[1].running_var[0] = 1e5
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    assert pack_weights.main([str(tmp_path / "model.pt"), str(tmp_path / "packed.pt")]) == 2
    error = capsys.readouterr().err
    assert "running_var" in error and "Traceback" not in error and error.count("\n") == 1
    assert not list(tmp_path.glob("packed*"))


def test_too_large_a_file_and_missing_settings_write_nothing(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pack_weights, "LIMIT", 100)
    assert pack_weights.main([str(tmp_path / "model.pt"), str(tmp_path / "packed.pt")]) == 1
    (tmp_path / "model.json").unlink()
    with pytest.raises(SystemExit):
        pack_weights.main([str(tmp_path / "model.pt"), str(tmp_path / "packed.pt")])
    assert "model.json is missing" in capsys.readouterr().err
    assert not list(tmp_path.glob("packed*"))
