"""Checkpoints that do not fit are named before they are loaded."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
from monai.utils import ensure_tuple_rep

from medssm_monai.bundle import load_weights, require_fitting_weights, require_same_classes, start_from
from medssm_monai.networks.nets import mamba_mis_s


def _network(classes=2, width=4):
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, classes))


def _save(content, path):
    torch.save(content, path)
    return path


def test_weights_that_fit(tmp_path):
    require_fitting_weights(_save(_network().state_dict(), tmp_path / "model.pt"), _network(), 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_network(classes=5).state_dict(), r"model.pt.*for 5 classes, but 2"),
        (_network(width=6).state_dict(), r"another network's; 0\.bias, 0\.weight, 1\.weight are"),
        (nn.Linear(3, 2).state_dict(), r"another network's.* and 2 more"),
        ({"weights": _network().state_dict()}, "no flat state dict.*'state_dict'"),
        ({"model": {"best": 0.7}}, "no flat state dict"),
        ([1, 2], "no flat state dict"),
    ],
    ids=["classes", "width", "layers", "unknown entry", "no tensors", "list"],
)
def test_weights_that_do_not_fit(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        require_fitting_weights(_save(content, tmp_path / "model.pt"), _network(), 2)


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="no weights that can be loaded"):
        require_fitting_weights(tmp_path / "model.pt", _network(), 2)


def test_classes_in_another_order_are_other_classes():
    require_same_classes(["a", "b"], ("a", "b"), "model.pt")
    with pytest.raises(ValueError, match=r"\['b', 'a'\], model.pt was trained for \['a', 'b'\]"):
        require_same_classes(["b", "a"], ["a", "b"], "model.pt")


def test_training_starts_from_weights_and_a_head_for_other_classes_afresh(tmp_path, caplog):
    first, other = _network(), _network(classes=5)
    path = _save(first.state_dict(), tmp_path / "model.pt")
    head = other[1].weight.clone()
    assert start_from(other, path) is other
    assert torch.equal(other[0].weight, first[0].weight)
    assert torch.equal(other[1].weight, head)
    assert "1.bias, 1.weight have another shape here and start afresh" in caplog.text
    same = start_from(_network(), path)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), first.parameters(), strict=True))
    assert start_from(other, None) is other


@pytest.mark.parametrize("content", [nn.Linear(3, 2).state_dict(), [1]], ids=["another network", "list"])
def test_training_starts_from_no_other_networks_weights(tmp_path, content):
    with pytest.raises(ValueError, match="model.pt: (cannot start from another|no flat state dict)"):
        start_from(_network(), _save(content, tmp_path / "model.pt"))
    with pytest.raises(FileNotFoundError, match="weights to start from not found.*--init_from"):
        start_from(_network(), tmp_path / "nowhere.pt")


def test_heads_of_deep_supervision_may_be_there_or_not(tmp_path, caplog):
    small = {"img_size": 32, "base_dim": 8, "d_state": 2}
    plain, deep = mamba_mis_s(**small), mamba_mis_s(**small, deep_supervision=True)
    for name, network in (("plain", plain), ("deep", deep)):
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
    for file, network, start in (
        ("deep.pt", mamba_mis_s(**small), load_weights),  # to predict with
        ("deep.pt", mamba_mis_s(**small), lambda n, f: start_from(n, f)),
        ("plain.pt", mamba_mis_s(**small, deep_supervision=True), lambda n, f: start_from(n, f)),
    ):
        caplog.clear()
        start(network, tmp_path / file)
        expected = (deep if file == "deep.pt" else plain).state_dict()
        own = network.state_dict()
        assert all(torch.equal(own[name], expected[name]) for name in plain.state_dict())
        assert ("supervision_heads" in caplog.text) == (file == "plain.pt")  # these start afresh
    with pytest.raises(ValueError, match="supervision_heads"):  # whoever asks for them in a prediction is told
        load_weights(mamba_mis_s(**small, deep_supervision=True), tmp_path / "plain.pt")


@pytest.mark.parametrize(
    ("spatial_dims", "before", "now"),
    [(2, 64, 96), (2, (96, 64), (64, 128)), (3, 32, 64)],
    ids=["larger", "one side smaller", "volumes"],
)
def test_spectral_weights_of_another_image_size_are_carried_over(tmp_path, caplog, spatial_dims, before, now):
    """The network that starts from them does to images of its size what the other one does to them."""
    small = {"spatial_dims": spatial_dims, "base_dim": 8, "d_state": 2}
    learned = mamba_mis_s(**small, img_size=before)
    path = _save(learned.state_dict(), tmp_path / "model.pt")
    images = torch.randn(1, 3, *ensure_tuple_rep(now, spatial_dims))
    with torch.no_grad():
        expected = learned.eval()(images)
        for start in (start_from, load_weights):
            network = mamba_mis_s(**small, img_size=now)
            start(network, path)
            torch.testing.assert_close(network.eval()(images), expected)
    assert "afresh" not in caplog.text
    require_fitting_weights(path, mamba_mis_s(**small, img_size=now))


@pytest.mark.parametrize("built_size", [torch.tensor([0, 0]), torch.tensor(3), torch.tensor([5, 5]), torch.zeros(0)])
def test_spectral_weights_of_a_size_that_is_not_theirs(tmp_path, built_size):
    small = {"base_dim": 8, "d_state": 2}
    saved = mamba_mis_s(**small, img_size=64).state_dict()
    saved = {key: built_size if key.endswith("built_size") else value for key, value in saved.items()}
    path = _save(saved, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt: .* another network's; .*spectral\.weight"):
        load_weights(mamba_mis_s(**small, img_size=96), path)


def test_a_network_that_names_no_output_layers_is_taken_as_it_fits(tmp_path, caplog):
    first, other = _network(), _network()
    start_from(other, _save(first.state_dict(), tmp_path / "model.pt"), (["a", "b"], ["b", "a"]))
    assert torch.equal(other[1].weight, first[1].weight)
    assert "no rows are told apart by these names, so that it is taken as it fits" in caplog.text
