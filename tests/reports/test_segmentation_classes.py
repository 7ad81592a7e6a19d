"""Figures of classes over images, from counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medssm_monai.metrics.class_overlap import overlap_of_class
from medssm_monai.reports import ClassesRecord, summarize_classes
from medssm_monai.reports.segmentation_classes import class_warnings

MM = ("mm", "ml")


def record(name: str, *counts: tuple[int, int, int, int], units=MM, **more) -> ClassesRecord:
    table = np.array(counts)
    scores = {
        f"c{number}": {metric: float(value) for metric, value in overlap_of_class(row).items()}
        for number, row in enumerate(table)
    }
    return ClassesRecord(name, (10, 10), scores, table, [(0.0, 1.0)] * len(table), units, **more)


def test_a_rare_class_is_pooled_over_the_images_that_have_it() -> None:
    absent = (0, 0, 0, 100)
    records = [record(str(n), (10, 2, 4, 84), (3, 1, 1, 95) if n == 0 else absent) for n in range(6)]
    found = summarize_classes(records, exclusive=True, n_resamples=300)
    rare = found["classes"]["c1"]
    pooled = rare["pooled"]["dice"]
    assert pooled == {"value": 6 / 8, "low": 6 / 8, "high": 6 / 8}  # resamples without it say nothing
    assert rare["pooled"]["precision"]["value"] == 3 / 4 and rare["counts"] == {"tp": 3, "fp": 1, "fn": 1, "tn": 595}
    assert rare["dice"]["images"] == 1 and rare["present"] == 1
    means = [(20 / 26 + 6 / 8) / 2, *[20 / 26] * 5]
    assert found["per_image"]["dice"]["mean"] == pytest.approx(np.mean(means))
    nothing = summarize_classes([record("a", absent, absent)], exclusive=False, n_resamples=10)
    assert math.isnan(nothing["per_image"]["dice"]["mean"]) and math.isnan(
        nothing["classes"]["c0"]["pooled"]["iou"]["low"]
    )
    assert nothing["floors"]["all foreground"]["iou"]["value"] == 0  # predicted where no label has it


def test_missed_and_made_up() -> None:
    records = [record("a", (0, 5, 0, 95)), record("b", (0, 0, 5, 95)), record("c", (5, 0, 0, 95))]
    found = summarize_classes(records, exclusive=False, n_resamples=10)["classes"]["c0"]
    assert (found["present"], found["predicted_only"], found["missed"]) == (2, 1, 1)
    assert found["dice"]["mean"] == pytest.approx(1 / 3) and found["pooled"]["iou"]["value"] == pytest.approx(1 / 3)
    assert class_warnings(records) == ([], [])
    said, _ = class_warnings([record("a", (0, 5, 0, 95))])
    assert said == ["c0 is in no label: its figures say only where it was predicted"]


def test_groups_widen_the_interval() -> None:
    records = [record(str(n), (10, n // 4, n // 4, 70), group=str(n // 4)) for n in range(16)]
    alone = [record(str(n), (10, n // 4, n // 4, 70)) for n in range(16)]
    widths = []
    for rows in (records, alone):
        entry = summarize_classes(rows, exclusive=True)["classes"]["c0"]
        widths.append([figure["high"] - figure["low"] for figure in (entry["dice"], entry["pooled"]["dice"])])
    assert widths[0][0] > 1.5 * widths[1][0] and widths[0][1] > 1.5 * widths[1][1]


def test_nothing_to_summarize_and_mixed_units() -> None:
    with pytest.raises(ValueError, match="no images"):
        summarize_classes([], exclusive=True)
    with pytest.raises(ValueError, match="a is measured in mm and ml, b in voxels and voxels"):
        summarize_classes(
            [record("a", (1, 0, 0, 9)), record("b", (1, 0, 0, 9), units=("voxels", "voxels"))], exclusive=True
        )
