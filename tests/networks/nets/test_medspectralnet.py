from __future__ import annotations

import logging
import warnings

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import resnet18
from torch.utils.flop_counter import FlopCounterMode

import medssm_monai
from medssm_monai.networks.nets import MedSpectralNet, medspectralnet, medspectralnet_full


def torchvision_names() -> set[str]:
    """State dict of torchvision's ``resnet18``, spelt out from its published structure."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{n}" for n in norm)}
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            names |= {f"{at}.conv{i}.weight" for i in (1, 2)} | {f"{at}.bn{i}.{n}" for i in (1, 2) for n in norm}
            if stage > 1 and block == 0:
                names |= {f"{at}.downsample.0.weight"} | {f"{at}.downsample.1.{n}" for n in norm}
    return names


@pytest.fixture(scope="module")
def imagenet_like():
    """A state dict with torchvision's names and shapes: MONAI's ResNet-18 in torchvision's configuration."""
    torch.manual_seed(0)
    net = resnet18(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, bias_downsample=False, num_classes=1000)
    return net.state_dict()


@pytest.mark.parametrize(
    ("variant", "count", "gmac"), [(medspectralnet, 8_651_019, 1.66), (medspectralnet_full, 13_371_659, 1.89)]
)
def test_parameters_and_multiply_accumulates(variant, count, gmac):
    with torch.device("meta"):
        net = variant(num_classes=11).eval()
    assert sum(p.numel() for p in net.parameters()) == count
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, 224, 224, device="meta"))
    assert round(counter.get_total_flops() / 2e9, 2) == gmac


@pytest.mark.parametrize(
    ("arguments", "input_shape"),
    [
        ({}, (2, 3, 96, 96)),
        ({"in_channels": 1, "num_classes": 7}, (1, 1, 100, 133)),
        ({"overlap": True, "layers": (1, 1, 1, 1)}, (1, 3, 128, 96)),
        ({"layers": (1, 2, 1, 1), "dropout": 0.5}, (1, 3, 97, 96)),
        ({"spatial_dims": 3, "in_channels": 1, "layers": (1, 1, 1, 1)}, (1, 1, 96, 96, 100)),
    ],
    ids=str,
)
def test_shape(arguments, input_shape):
    net = medspectralnet(**arguments).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = net(torch.rand(input_shape))
    assert logits.shape == (input_shape[0], arguments.get("num_classes", 2)) and type(logits) is torch.Tensor


def test_forward_is_the_sum_that_the_figure_shows():
    torch.manual_seed(0)
    net = medspectralnet(num_classes=3).eval()
    x = torch.rand(2, 3, 96, 160)
    with torch.no_grad():
        base = net.trunk(x)
        assert base.shape == (2, 512, 3, 5)
        fused = net.spectral_flow2(base + net.spectral_flow1(base) + net.context_gate(base))
        expected = net.norm(fused).mean((2, 3)) @ net.head.weight.T + net.head.bias
        torch.testing.assert_close(net(x), expected)
        torch.testing.assert_close(net(MetaTensor(x)), expected)


@pytest.mark.parametrize(
    "ablation",
    [
        {},
        {"spectral_flow1": False},
        {"context_gate": False},
        {"spectral_flow2": False},
        {"spectral_flow1": False, "context_gate": False, "spectral_flow2": False},
        {"overlap": True},
    ],
    ids=str,
)
def test_every_ablation_trains_a_step_with_finite_gradients(ablation):
    torch.manual_seed(0)
    net = medspectralnet(layers=(1, 1, 1, 1), **ablation)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(net(torch.rand(2, 3, 96, 96)), torch.tensor([0, 1]))
    loss.backward()
    assert not [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    before = net.head.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, net.head.weight)
    removed = {name for name, kept in ablation.items() if kept is False}
    assert not [n for n, _ in net.named_parameters() if n.split(".")[0] in removed]


def test_dropout_makes_passes_differ_in_training_mode_only():
    net = medspectralnet(layers=(1, 1, 1, 1), dropout=0.5).eval()
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(net(x), net(x))
        net.dropout.train()
        assert not torch.equal(net(x), net(x))


def test_small_images_are_warned_about():
    net = medspectralnet(layers=(1, 1, 1, 1)).eval()
    with torch.no_grad(), pytest.warns(UserWarning, match=r"\(95, 128\).*below 96.*idle"):
        net(torch.rand(1, 3, 95, 128))


def test_one_sample_cannot_train():
    with pytest.raises(ValueError, match="one sample.*drop_last"):
        medspectralnet().train()(torch.rand(1, 3, 96, 96))


def test_traced_network_takes_other_batches_and_sizes():
    torch.manual_seed(0)
    net = medspectralnet(layers=(1, 1, 1, 1)).eval()
    other = torch.rand(3, 3, 224, 130)
    with torch.no_grad():
        traced = torch.jit.trace(net, torch.rand(2, 3, 128, 160))
        torch.testing.assert_close(traced(other), net(other), rtol=1e-4, atol=1e-5)


def test_registered_names_build_it():
    net = medssm_monai.get_network("medspectralnet_full", num_classes=5)
    assert isinstance(net, MedSpectralNet) and net.head.out_features == 5 and len(net.trunk.layer4) == 2


def test_trunk_has_torchvisions_names():
    with torch.device("meta"):
        full, light = medspectralnet_full().trunk.state_dict(), medspectralnet().trunk.state_dict()
    names = torchvision_names()
    assert set(full) == {n for n in names if not n.startswith("fc.")}
    assert set(full) - set(light) == {n for n in names if n.startswith("layer4.1.")}


@pytest.mark.parametrize("variant", [medspectralnet, medspectralnet_full])
def test_pretrained_file_is_loaded_and_accounted_for(variant, imagenet_like, tmp_path, caplog):
    path = tmp_path / "resnet18.pth"
    old_file = {n: v for n, v in imagenet_like.items() if not n.endswith("num_batches_tracked")}
    torch.save(old_file, path)
    with caplog.at_level(logging.INFO):
        net = variant(pretrained_path=path)
    weights = dict(net.trunk.named_parameters())
    assert weights and all(torch.equal(v, imagenet_like[n]) for n, v in weights.items())
    left_over = {"fc.weight", "fc.bias"} | (
        set() if variant is medspectralnet_full else {n for n in old_file if n.startswith("layer4.1.")}
    )
    report = net.trunk.load_pretrained(path)
    assert set(report.unused) == left_over and set(report.loaded) == set(old_file) - left_over
    assert f"loaded {len(report.loaded)} of" in caplog.text and "fc.weight" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda s: s.pop("layer2.0.conv1.weight"), {}, r"missing: layer2\.0\.conv1\.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), {}, "unknown: extra"),
        (lambda s: None, {"in_channels": 1}, r"another shape: conv1\.weight \(file \(64, 3, 7, 7\), trunk \(64, 1"),
        (lambda s: s.update(nested={}), {}, "plain dictionary of tensors"),
    ],
    ids=["missing", "unknown", "shape", "nested"],
)
def test_pretrained_file_that_does_not_fit(spoil, arguments, message, imagenet_like, tmp_path):
    state = dict(imagenet_like)
    spoil(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=message):
        medspectralnet(pretrained_path=tmp_path / "weights.pth", **arguments)


def test_pretrained_file_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="local path"):
        medspectralnet(pretrained_path=tmp_path / "absent.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="weights_only=True"):
        medspectralnet(pretrained_path=tmp_path / "page.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pth")  # code in the file is never run
    with pytest.raises(ValueError, match="weights_only=True"):
        medspectralnet(pretrained_path=tmp_path / "pickled.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims"),
        ({"num_classes": 0}, "num_classes"),
        ({"layers": (2, 2, 2)}, "four positive"),
        ({"layers": (2, 2, 2, 0)}, "four positive"),
        ({"kernel_size": 4, "overlap": True}, "odd"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MedSpectralNet(**arguments)


@pytest.mark.parametrize("shape", [(1, 1, 96, 96), (1, 4, 96, 96), (3, 96, 96), (1, 3, 96, 96, 96)])
def test_bad_input_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"expected images \(B, 3, H, W\)"):
        medspectralnet().eval()(torch.rand(shape))
