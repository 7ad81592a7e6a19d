"""Trainings that start from given weights."""

from __future__ import annotations

import pytest
import torch

from .bundle_runs import every_bundle, failing


@every_bundle
def test_training_starts_from_the_weights_given(bundle, tmp_path):
    trained = bundle.workflow(("train.yaml",), tmp_path / "first", **bundle.tiny, seed=1).network_def
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    flow = bundle.workflow(("train.yaml",), tmp_path / "second", **bundle.tiny, init_from=str(tmp_path / "model.pt"))
    weights = flow.network_def.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in trained.state_dict().items())
    trainer_network = flow.trainer.network
    assert trainer_network is flow.network_def or trainer_network.state_dict().keys() == weights.keys()


@pytest.mark.parametrize("content", [None, b"no checkpoint"], ids=["missing", "damaged"])
@every_bundle
def test_weights_that_cannot_be_read_are_named(bundle, tmp_path, content):
    if content is not None:
        (tmp_path / "model.pt").write_bytes(content)
    kind = FileNotFoundError if content is None else ValueError
    with failing(kind, "model.pt"):
        bundle.run(("train.yaml",), tmp_path / "out", **bundle.tiny, init_from=str(tmp_path / "model.pt"))
