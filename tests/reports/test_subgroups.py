"""Figures by sex, age and scanner, on generated scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medssm_monai.data import DatalistError
from medssm_monai.metrics import bootstrap_interval
from medssm_monai.reports.subgroups import FEWEST_UNITS, SubgroupTable, subgroup_summary, subgroup_warnings

BOOTSTRAP = {"n_resamples": 200, "confidence": 0.95, "seed": 0}


def written(path, rows, header="image,sex,scanner"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return SubgroupTable.read(path)


def test_each_value_has_its_mean_and_the_bootstrap_of_its_images(tmp_path):
    names = [f"/data/{number}.png" for number in range(30)]
    scores = np.random.default_rng(0).uniform(size=30)
    rows = [f"{n}.png,{'F' if n < 12 else 'M'},{'A' if n < 25 else ''}" for n in range(30)]
    found = subgroup_summary(written(tmp_path / "t.csv", rows), "dice", names, scores.tolist(), [None] * 30, BOOTSTRAP)
    women = found["columns"]["sex"]["F"]
    own = bootstrap_interval(scores[:12], **BOOTSTRAP)
    assert (women["images"], women["units"], women["too_few"]) == (12, 12, False)
    assert (women["mean"], women["low"], women["high"]) == pytest.approx(tuple(own))
    few = found["columns"]["scanner"]["(not stated)"]
    assert few["too_few"] and few["images"] == 5 < FEWEST_UNITS
    assert math.isnan(few["low"]) and few["mean"] == pytest.approx(scores[25:].mean())
    assert found["without_row"] == 0 and subgroup_warnings(found, 30) == []


def test_patients_are_counted_and_resampled_where_there_are_groups(tmp_path):
    names = [f"{number}.png" for number in range(40)]
    groups = [f"p{number // 4}" for number in range(40)]  # ten patients
    scores = [float(number // 4) for number in range(40)]
    table = written(tmp_path / "t.csv", [f"p{n},F,A" for n in range(10)], "patient,sex,scanner")
    found = subgroup_summary(table, "dice", names, scores, groups, BOOTSTRAP)
    entry = found["columns"]["sex"]["F"]
    own = bootstrap_interval(scores, groups=groups, **BOOTSTRAP)
    alone = bootstrap_interval(scores, **BOOTSTRAP)
    assert (entry["images"], entry["units"], found["unit"]) == (40, 10, "group")
    assert (entry["low"], entry["high"]) == pytest.approx((own.low, own.high))
    assert own.high - own.low > 1.5 * (alone.high - alone.low)


def test_images_without_a_row_and_undefined_scores_are_left_out(tmp_path):
    table = written(tmp_path / "t.csv", [f"{n},F,A" for n in range(12)])
    names, scores = [f"x/{n}.nii.gz" for n in range(15)], [math.nan, *([0.5] * 14)]
    found = subgroup_summary(table, "dice", names, scores, [None] * 15, BOOTSTRAP)
    assert found["columns"]["sex"]["F"]["images"] == 11 and found["without_row"] == 3
    assert subgroup_warnings(found, 15) == ["the table of subgroups does not name 3 of 15 images"]
    nothing = subgroup_summary(table, "dice", ["other"], [1.0], [None], BOOTSTRAP)
    assert "names none of these images" in subgroup_warnings(nothing, 1)[0]


def test_the_order_of_columns_does_not_matter(tmp_path):
    table = written(tmp_path / "t.csv", ["F,a.png"], "sex;image".replace(";", ","))
    assert table.columns == {"sex": {"a.png": "F"}}


def test_all_that_is_wrong_with_a_table_is_said_at_once(tmp_path):
    rows = [f"{n}.png,{n},A" for n in range(30)] + ["1.png,1,B"]
    with pytest.raises(DatalistError) as error:
        written(tmp_path / "t.csv", rows, "image,age,scanner")
    assert "two values of one name" in str(error.value) and "30 values; expected 20 at most" in str(error.value)
    with pytest.raises(DatalistError, match="no column beside the names"):
        written(tmp_path / "t.csv", ["a.png"], "image")
    with pytest.raises(FileNotFoundError, match="subgroups"):
        SubgroupTable.read(tmp_path / "missing.csv")
