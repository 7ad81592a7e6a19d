"""The figures that an export is judged by."""

from __future__ import annotations

import math

import pytest
import torch

from medssm_monai import get_network
from medssm_monai.bundle import ClassificationTask, FusionTask, SegmentationTask
from medssm_monai.data.labels import LabelSet
from medssm_monai.export.checks import agreement, compare, relative_error, rounding_error

SEGMENTATION = SegmentationTask(threshold=0.5)
CLASSIFICATION = ClassificationTask(["a", "b", "c"])


@pytest.mark.parametrize(
    ("result", "expected", "error"),
    [
        ([1.0, -2.0], [1.0, -2.0], 0.0),
        ([1.0, -2.0], [1.0, -4.0], 0.5),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 1e-9], [0.0, 0.0], math.inf),
        ([math.nan, 1.0], [1.0, 1.0], math.inf),
        ([math.inf, 1.0], [1.0, 1.0], math.inf),
    ],
)
def test_relative_error(result, expected, error):
    assert relative_error(torch.tensor(result), torch.tensor(expected)) == error


def test_relative_error_needs_equal_shapes():
    with pytest.raises(ValueError, match=r"\(2,\), expected \(3,\)"):
        relative_error(torch.zeros(2), torch.zeros(3))


def test_agreement_counts_pixels_at_the_task_s_threshold():
    logits = torch.tensor([[[[-1.0, 1.0], [2.0, 0.5]]]])
    other = torch.tensor([[[[-1.0, -1.0], [2.0, 0.5]]]])
    assert agreement(other, logits, SEGMENTATION) == 0.75
    assert agreement(other, logits, SegmentationTask(threshold=0.8)) == 1.0  # 0.73 and 0.27 are both below


def test_agreement_counts_classes_and_nothing_for_a_fusion():
    assert agreement(torch.eye(3), torch.eye(3)[[0, 2, 2]], CLASSIFICATION) == pytest.approx(2 / 3)
    assert agreement(torch.eye(3), torch.eye(3), FusionTask()) is None


def test_compare_passes_what_is_close_over_all_batches():
    expected = [torch.randn(b, 3, generator=torch.Generator().manual_seed(b)) for b in (1, 2)]
    checks = compare([x * (1 + 1e-5) for x in expected], expected, CLASSIFICATION)
    assert [check.name for check in checks] == ["relative error", "equal classes"]
    assert all(check.passed for check in checks)
    assert checks[0].value == pytest.approx(1e-5, rel=0.1)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda x: x + 1e-3, ["relative error"]),
        (lambda x: -x, ["relative error", "mask agreement"]),
        (lambda x: x[..., :-1], ["output shape"]),
    ],
)
def test_compare_names_what_fails(change, failed):
    expected = [torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8) + 0.01]
    checks = compare([change(x) for x in expected], expected, SEGMENTATION)
    assert [check.name for check in checks if not check.passed] == failed
    assert "limit" in str(checks[0])


@pytest.mark.parametrize(
    ("error", "rounding", "passes"),
    [
        (9e-5, None, True),  # not asked
        (2e-4, 1e-6, False),
        (2e-4, 4e-5, False),
        (2e-4, 6e-5, True),
        (3e-3, 9e-4, True),
        (9e-4, 1e-2, False),  # a network that hangs on rounding
        (5e-3, None, False),  # not asked: too much in any case
        (math.nan, None, False),
    ],
)
def test_a_file_may_be_as_far_off_as_rounding_puts_pytorch_itself(error, rounding, passes):
    expected = torch.full((1, 1, 4, 4), -1.0)
    result = expected.clone()
    result[0, 0, 0, 0] += error
    asked = []

    def own():
        asked.append(rounding)
        return rounding

    checks = compare([result], [expected], SEGMENTATION, own)
    assert checks[0].passed is passes and asked == ([] if rounding is None else [rounding])
    assert ("rounding to float32" in checks[0].limit) is bool(asked)


def test_rounding_is_that_of_the_network_in_float32():
    class Jump(torch.nn.Module):
        """``tanh(1e4 · (x + 1 - 1))``: the sum rounds."""

        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return torch.tanh(1e4 * (x + self.one - self.one))

    network, batches = Jump(), [torch.tensor([[1.03e-6]]), torch.tensor([[-3e-5], [1e-3]])]
    with torch.no_grad():
        expected = [network(batch) for batch in batches]
    exact = torch.tanh(1e4 * torch.cat(batches).double())
    wanted = (torch.cat(expected) - exact).abs().max().item() / exact.abs().max().item()
    assert rounding_error(network, batches, expected) == pytest.approx(wanted, rel=1e-6) and wanted > 1e-5
    assert network.one.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("mamba_mis_s", {"img_size": 64, "base_dim": 8, "d_state": 4}, (2, 3, 64, 64)),
        ("mamba_mis_3d_s", {"img_size": 32, "base_dim": 8, "d_state": 4}, (1, 1, 32, 32, 32)),
        ("medconvmamba_t", {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2}, (2, 3, 32, 32)),
        ("medspectralnet", {"layers": [1, 1, 1, 1]}, (2, 3, 96, 96)),
        ("clinical_fmamba_2d", {"depth": 1, "exchange_rounds": 1, "d_state": 4}, (1, 2, 32, 32)),
    ],
)
def test_every_network_runs_in_float64_and_rounds_little_at_the_start(name, arguments, shape):
    torch.manual_seed(0)
    network, x = get_network(name, **arguments).eval(), torch.rand(shape)
    with torch.no_grad():
        expected = network(x)
    assert 0 < rounding_error(network, [x], [expected]) < 1e-4


def test_classes_that_exclude_each_other_are_compared_by_the_most_probable_one():
    task = SegmentationTask(threshold=0.9, labels=LabelSet.of({"liver": 1, "spleen": 2}))
    logits = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert agreement(logits, logits + 3, task) == 1.0  # the same for every channel changes nothing
    other = logits.clone()
    other[0, :, 0, 0, 0] = other[0, :, 0, 0, 0].roll(1)
    assert agreement(other, logits, task) == pytest.approx(1 - 1 / 240)
    names = [check.name for check in compare([other], [logits], task)]
    assert names == ["relative error", "mask agreement"]


def test_regions_are_compared_channel_by_channel():
    task = SegmentationTask(labels=LabelSet.of({"whole": [1, 2], "core": 2}))
    logits = torch.full((1, 2, 4, 4, 4), 2.0)
    other = logits.clone()
    other[0, 1, :2] = -2
    assert agreement(other, logits, task) == 0.75
