from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import default_prepare_batch

from medssm_monai.transforms import AreaCutMix, AreaCutMixd


def owners(batch: int, size: tuple[int, ...], channels: int = 2) -> torch.Tensor:
    """Images whose every pixel holds the number of its image."""
    return torch.arange(float(batch)).reshape(-1, *[1] * (len(size) + 1)).expand(batch, channels, *size).clone()


@pytest.mark.parametrize("size", [(16, 16), (7, 23), (3, 9), (6, 5, 9)], ids=str)
@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_label_weight_is_the_area_counted_from_the_pixels(size, alpha):
    """Each image has its own class, so the soft label must be the histogram of the owners of its pixels."""
    batch, mix = 6, AreaCutMix(num_classes=6, prob=1.0, alpha=alpha).set_random_state(3)
    shares = []
    for _ in range(60):
        images, labels = mix(owners(batch, size), torch.arange(batch))
        for i in range(batch):
            for channel in images[i]:
                counted = torch.bincount(channel.flatten().long(), minlength=batch) / channel.numel()
                torch.testing.assert_close(labels[i], counted, rtol=0, atol=1e-6)
            shares.append(labels[i, i].item())
    assert min(shares) < 0.5 < max(shares)


def test_what_is_taken_is_one_box_from_the_same_place_of_the_partner():
    torch.manual_seed(0)
    mix = AreaCutMix(num_classes=5, prob=1.0).set_random_state(1)
    seen_clipped = False
    for _ in range(40):
        images = torch.rand(5, 2, 12, 10)
        mixed, _ = mix(images, torch.arange(5))
        inside = torch.zeros(12, 10, dtype=torch.bool)
        inside[mix.box] = True
        partner = images[torch.as_tensor(mix.partners)]
        assert torch.equal(mixed[..., inside], partner[..., inside])
        assert torch.equal(mixed[..., ~inside], images[..., ~inside])
        seen_clipped |= any(s.start == 0 for s in mix.box)
    assert seen_clipped


def test_distribution_of_boxes():
    """Unclipped, 1 - λ is uniform for alpha = 1; the box's own center is uniform, so that clipping shrinks the mean."""
    mix = AreaCutMix(num_classes=2, prob=1.0, alpha=1.0).set_random_state(0)
    images, covered = torch.zeros(2, 1, 64, 64), np.zeros((64, 64))
    areas = []
    for _ in range(3000):
        mix.randomize(images)
        covered[mix.box] += 1
        areas.append(np.zeros((64, 64))[mix.box].size / 64**2)
    rng = np.random.default_rng(0)
    side, center = np.sqrt(rng.uniform(size=(200000, 1))), rng.uniform(size=(200000, 2))
    clipped = np.minimum(center + side / 2, 1) - np.maximum(center - side / 2, 0)
    assert np.mean(areas) == pytest.approx(clipped.prod(1).mean(), abs=0.015)
    np.testing.assert_allclose(covered[::-1, ::-1], covered, atol=0.06 * 3000)


@pytest.mark.parametrize("labels", [[2], [[2]], [[0.25, 0.25, 0.5]]])
def test_batch_of_one_is_the_identity(labels):
    image = torch.rand(1, 3, 9, 9)
    mix = AreaCutMix(num_classes=3, prob=1.0).set_random_state(0)
    for _ in range(10):
        mixed, soft = mix(image, labels)
        assert torch.equal(mixed, image)
        expected = [[0.0, 0.0, 1.0]] if len(np.ravel(labels)) == 1 else labels
        torch.testing.assert_close(soft, torch.tensor(expected))


@pytest.mark.parametrize(("prob", "low", "high"), [(0.0, 0, 0), (0.5, 160, 240), (1.0, 400, 400)])
def test_probability(prob, low, high):
    mix, applied = AreaCutMix(num_classes=2, prob=prob).set_random_state(0), 0
    images = owners(2, (32, 32))
    for _ in range(400):
        mixed, soft = mix(images, torch.tensor([1, 0]))
        assert soft.shape == (2, 2) and soft.dtype == torch.float32
        applied += bool(mix._do_transform)
        if not mix._do_transform:
            assert mixed is images and soft.tolist() == [[0, 1], [1, 0]]
    assert low <= applied <= high


def test_labels_of_every_form_give_the_same_and_input_is_left_alone():
    images, indices = torch.rand(4, 1, 8, 8), torch.tensor([2, 0, 1, 2])
    forms = [indices, indices[:, None], indices.float(), torch.eye(3)[indices], indices.tolist(), indices.numpy()]
    before, results = images.clone(), []
    for labels in forms:
        results.append(AreaCutMix(num_classes=3, prob=1.0).set_random_state(7)(images, labels))
    assert torch.equal(images, before) and not torch.equal(results[0][0], images)
    for mixed, soft in results[1:]:
        assert torch.equal(mixed, results[0][0]) and torch.equal(soft, results[0][1])


def test_seed_repeats_the_run():
    images, labels = torch.rand(4, 1, 8, 8), [0, 1, 0, 1]
    one, two, other = (AreaCutMix(2, 1.0).set_random_state(seed) for seed in (5, 5, 6))
    runs = [[mix(images, labels) for _ in range(5)] for mix in (one, two, other)]
    assert all(torch.equal(a, b) for x, y in zip(*runs[:2], strict=True) for a, b in zip(x, y, strict=True))
    assert any(not torch.equal(x[0], y[0]) for x, y in zip(runs[0], runs[2], strict=True))


def test_batch_of_a_loader_on_its_way_into_a_trainer():
    samples = [{"image": MetaTensor(torch.full((1, 8, 8), float(i))), "label": i % 3} for i in range(4)]
    samples = [{**s, "depth": s["image"] + 10} for s in samples]
    batch = next(iter(DataLoader(samples, batch_size=4)))
    mix = AreaCutMixd(["image", "depth"], "label", num_classes=3, prob=1.0).set_random_state(2)
    mixed = mix(batch)
    assert isinstance(mixed["image"], MetaTensor) and batch["label"].tolist() == [0, 1, 2, 0]
    assert torch.equal(mixed["image"] + 10, mixed["depth"]) and not torch.equal(mixed["image"], batch["image"])
    image, label = default_prepare_batch(mixed, device="cpu")
    for i in range(4):
        classes = image[i].flatten().long() % 3
        torch.testing.assert_close(label[i], torch.bincount(classes, minlength=3) / classes.numel())
    logits = torch.zeros(4, 3, requires_grad=True)
    torch.nn.functional.cross_entropy(logits, label).backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "arguments", [{"num_classes": 1}, {"num_classes": 2, "alpha": 0.0}, {"num_classes": 2, "prob": 1.5}]
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="num_classes must be at least 2, alpha above 0 and prob in"):
        AreaCutMix(**arguments)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 8, 8), [0, 1], "images must have shape"),
        ((2, 1, 8, 8), [0, 1, 1], r"labels must be.*batch of 2.*\(3,\)"),
        ((2, 1, 8, 8), [[0.5, 0.5], [1, 0]], r"probabilities \(B, 3\)"),
        ((2, 1, 8, 8), [0, 3], r"0\.\.2"),
        ((2, 1, 8, 8), [-1, 0], r"0\.\.2"),
        ((2, 1, 8, 8), [0.5, 1.0], "whole numbers"),
    ],
)
def test_bad_input_is_named(shape, labels, message):
    with pytest.raises(ValueError, match=message):
        AreaCutMix(num_classes=3)(torch.zeros(shape), labels)


def test_images_of_unequal_size_are_named():
    with pytest.raises(ValueError, match="one spatial size.*depth"):
        AreaCutMixd(["image", "depth"], "label", 2)(
            {"image": torch.zeros(2, 1, 8, 8), "depth": torch.zeros(2, 1, 4, 4), "label": [0, 1]}
        )
