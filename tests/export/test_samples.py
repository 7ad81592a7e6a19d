"""What reaches the network, and in which batches it is compared."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.data import ImageReadError
from medssm_monai.export import export_bundle
from medssm_monai.export.samples import in_batches, network_inputs
from medssm_monai.export.source import open_source

from ..bundle.volume_bundle import make_bundle
from ..bundles.bundle_runs import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA

SMALL = {"network_args": {"base_dim": 6, "d_state": 2}, "image_size": [32, 32]}


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_batches_have_every_size_and_every_sample(count):
    batches = in_batches(torch.arange(count))
    assert [len(batch) for batch in batches[:3]] == [1, 2, 3]
    assert set(torch.cat(batches).tolist()) == set(range(count))


def test_windows_are_those_of_the_bundle_s_inferer(tmp_path, write_picture):
    """An image of 64 x 48 that keeps its size reaches the network in windows of 32 x 32."""
    image = write_picture(tmp_path / "a.png", 64, 48)
    source = open_source(MAMBA_MIS.folder, untrained=True, overrides={**SMALL, "resize_to": False})
    windows, where = network_inputs(source, image, count=5)
    assert windows.shape == (5, 3, 32, 32)
    assert where == "a.png"
    assert -2 <= windows.min() < -1 and 1 < windows.max() <= 2  # (x - 0.5) / 0.25
    assert not torch.equal(windows[0], windows[1])


def test_images_of_several_sizes_are_refused(tmp_path, write_picture):
    for name, size in (("a", 24), ("b", 32)):
        for folder in ("source_a", "source_b"):
            write_picture(tmp_path / folder / f"{name}.png", size, size, "L")
    tiny = {"network_args": {"depth": 1, "exchange_rounds": 1, "decoder_depth": 1, "d_state": 2}}
    source = open_source(CLINICAL_FMAMBA.folder, untrained=True, overrides=tiny)
    with pytest.raises(ValueError, match="2 sizes.*one size"):
        network_inputs(source, tmp_path)


def test_an_image_that_cannot_be_read_is_an_error(tmp_path, write_picture):
    image = write_picture(tmp_path / "cut.png", 64, 48)
    image.write_bytes(image.read_bytes()[:500])
    source = open_source(MAMBA_MIS.folder, untrained=True, overrides=SMALL)
    with pytest.raises(ImageReadError, match="cut.png: cannot be decoded"):
        network_inputs(source, image)


def test_random_weights_are_of_the_seed_and_say_so():
    tiny = {"network_args": {"embed_dim": 16, "depth": 1, "d_state": 2}}
    one, same, other = (
        open_source(MEDCONVMAMBA.folder, untrained=True, seed=seed, overrides=tiny) for seed in (0, 0, 1)
    )
    assert one.weights == "random, seed 0" and one.stem == "untrained"
    assert torch.equal(one.network.head.weight, same.network.head.weight)
    assert not torch.equal(one.network.head.weight, other.network.head.weight)


def test_missing_and_dangerous_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="trained weights of mamba_mis.*--ckpt_path.*--untrained"):
        open_source(MAMBA_MIS.folder, ckpt_path=tmp_path / "none.pt")
    pickled = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(2), "code": object}, pickled)
    with pytest.raises(ValueError, match="no weights that can be loaded|no flat state dict"):
        open_source(MAMBA_MIS.folder, ckpt_path=pickled)


def test_an_override_of_no_key_is_named():
    with pytest.raises(ValueError, match="uses treshold .did you mean .threshold"):
        open_source(MAMBA_MIS.folder, untrained=True, overrides={**SMALL, "treshold": 0.3})


def test_an_unknown_bundle_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no bundle"):
        open_source(tmp_path, untrained=True)


def test_a_segmentation_of_volumes_is_tried_on_windows_of_its_size(tmp_path):
    source = open_source(make_bundle(tmp_path / "organs"))
    inputs, where = network_inputs(source, count=5)
    assert (inputs.shape, where) == ((5, 2, 8, 8, 8), "smooth noise (synthetic)")
    assert inputs.mean((2, 3, 4)).abs().max() < 1e-5
    torch.testing.assert_close(inputs.std((2, 3, 4)), torch.ones(5, 2))
    neighbors = (inputs[..., 1:] * inputs[..., :-1]).mean()
    assert neighbors > 0.5  # structures, not noise of single voxels
    torch.testing.assert_close(network_inputs(source, count=5)[0], inputs)


def test_a_segmentation_of_volumes_is_exported(tmp_path):
    report = export_bundle(make_bundle(tmp_path / "organs"), ["torchscript", "exported"], repeats=0)
    assert report.passed
    assert report.input_shape == [2, 8, 8, 8]
    names = sorted(path.name for path in (tmp_path / "organs" / "models").iterdir())
    assert {"model.ts", "model.pt2", "model_export.json"} <= set(names)
