"""The figure that chooses a fusion's checkpoint."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.metrics import FusionMetric, fusion_metrics


def test_batches_and_decollated_items_give_the_mean_over_pairs_and_metrics():
    torch.manual_seed(0)
    sources, fused = torch.rand(3, 2, 24, 24), torch.rand(3, 1, 24, 24)
    scores = fusion_metrics(fused, sources[:, :1], sources[:, 1:], ["ssim_mean", "qabf"])
    expected = torch.stack(list(scores.values())).mean().item()
    whole, single = FusionMetric(), FusionMetric(["ssim_mean", "qabf"])
    whole(fused, sources)
    for one, pair in zip(fused, sources, strict=True):
        single([one], [pair])
    assert whole.aggregate() == pytest.approx(expected, abs=1e-6)
    assert single.aggregate() == pytest.approx(expected, abs=1e-6)
    whole.reset()
    whole(fused[:1], sources[:1])
    assert whole.aggregate() == pytest.approx(float((scores["ssim_mean"][0] + scores["qabf"][0]) / 2), abs=1e-6)


def test_what_cannot_choose_is_named():
    with pytest.raises(ValueError, match="unknown fusion metrics"):
        FusionMetric("dice")
    metric = FusionMetric("scd_sum")
    sources = torch.rand(1, 2, 24, 24)
    metric(sources[:, :1], sources)  # a copy has no correlation of differences
    with pytest.raises(ValueError, match="undefined for every pair"):
        metric.aggregate()
