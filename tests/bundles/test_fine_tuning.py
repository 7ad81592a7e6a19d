"""Trainings that start from given weights."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.bundle import write_model_settings

from .bundle_runs import MEDCONVMAMBA, MEDSPECTRALNET, every_bundle, failing


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


@pytest.mark.parametrize("bundle", [MEDCONVMAMBA, MEDSPECTRALNET], ids=lambda bundle: bundle.name)
def test_a_classification_keeps_the_classes_of_the_same_name(bundle, tmp_path, caplog):
    """The same classes, the other way round in the weights; then others."""
    first = bundle.workflow(("train.yaml",), tmp_path / "first", **bundle.tiny, seed=1)
    settings, trained = first.parser.get_parsed_content("settings"), first.network_def.state_dict()
    names = list(settings["class_names"])
    torch.save(trained, tmp_path / "model.pt")
    options = {**bundle.tiny, "init_from": str(tmp_path / "model.pt")}
    for theirs in (names[::-1], [f"other {name}" for name in names]):
        write_model_settings(tmp_path / "model.pt", settings | {"class_names": theirs})
        weights = bundle.workflow(("train.yaml",), tmp_path / "second", **options).network_def.state_dict()
        assert torch.equal(weights["head.weight"], trained["head.weight"].flip(0)) == (theirs == names[::-1])
        assert not torch.equal(weights["head.weight"], trained["head.weight"])
        assert all(torch.equal(weights[key], trained[key]) for key in trained if not key.startswith("head"))
        assert (
            f"was trained for the classes {', '.join(theirs)}, this training is for {', '.join(names)}" in caplog.text
        )
