"""``compare --folds``: the files of the folds, who is scored when, and what is pooled; runs are stood in for by a
program that writes what an evaluation writes."""

from __future__ import annotations

import ast
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from monai.bundle import ConfigParser

from medssm_monai.experiments import compare, plan_rows, programs
from medssm_monai.experiments.plan_folds import development_items, with_folds
from medssm_monai.experiments.plans import PlanError, read_plan
from medssm_monai.metrics import bootstrap_interval

from ..bundles.bundle_runs import every_bundle

PLAN = {"metric": "dice", "reference": "ours", "rows": [{"name": "ours"}, {"name": "other"}]}
NAMES = [f"{letter}{n}" for letter in "qwertzuiop" for n in "xy"]  # groups of two by the letter


def dice(row: str, name: str) -> float:
    return 0.3 + NAMES.index(name) / 50 + (0.1 if row == "other" else 0.0)


def write_bundle(folder: Path, **keys) -> Path:
    configs = folder / "tiny" / "configs"
    configs.mkdir(parents=True)
    parts = {"training": NAMES[:13], "validation": NAMES[13:], "test": ["held_a", "held_b"]}
    lists = {part: [{"name": name, "image": f"{name}.png"} for name in names] for part, names in parts.items()}
    content = {"datalists": lists, "val_interval": 1, "split_counts": None, "split_file": None, **keys}
    (configs / "train.yaml").write_text(yaml.safe_dump(content), encoding="utf8")
    (configs / "evaluate.yaml").write_text("evaluate: true\n", encoding="utf8")
    (configs / "comparison.yaml").write_text(yaml.safe_dump(PLAN), encoding="utf8")
    return configs.parent


@pytest.fixture
def runs(monkeypatch):
    seen = []

    def run(command, stdout, **options):
        overlay = yaml.safe_load(Path(ast.literal_eval(command[6])[-1]).read_text(encoding="utf8"))
        folder = Path(overlay["run_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        seen.append((command[4], overlay))
        if command[4] == "evaluating":
            names = json.loads(Path(overlay["split_file"]).read_text(encoding="utf8"))["test"]
            values = [dice(overlay["run_name"].partition("-")[0], name) for name in names]
            rows = "".join(f"{name}.png,{value}\n" for name, value in zip(names, values, strict=True))
            (folder / "per_image.csv").write_text(f"image,dice\n{rows}", encoding="utf8")
            figures = {"dice": {"mean": float(np.mean(values)), "low": 0.0, "high": 1.0}}
            (folder / "summary.json").write_text(
                json.dumps({"per_image": figures, "images": len(names), "data": "real"}), encoding="utf8"
            )
        return 0

    monkeypatch.setattr(programs, "execute", run)
    monkeypatch.setattr(plan_rows, "cost", lambda files: {})
    return seen


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("group", [None, "^([a-z])"])
def test_everybody_is_scored_once_and_pooled(tmp_path, runs, group):
    bundle = write_bundle(tmp_path)
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({**PLAN, **({"group": group} if group else {})}), encoding="utf8")
    out = tmp_path / "out"
    assert compare.main([str(bundle), "--plan", str(plan), "--folds", "4", "--output_dir", str(out)]) == 0
    splits = [json.loads((out / "folds" / f"fold{n}.json").read_text(encoding="utf8")) for n in range(1, 5)]
    assert sorted(name for split in splits for name in split["test"]) == sorted(NAMES)
    for split in splits:
        assert sorted(split["training"] + split["validation"] + split["test"]) == sorted(NAMES)
        letters = [{name[0] for name in split[part]} for part in ("training", "validation", "test")]
        assert not group or sum(map(len, letters)) == 10
    trained = [overlay["split_file"] for step, overlay in runs if step == "training"]
    assert sorted(trained) == sorted(str(out / "folds" / f"fold{n}.json") for n in range(1, 5) for _ in range(2))
    ours, other = read(out / "comparison_folds.csv")
    values = np.array([dice("ours", name) for split in splits for name in split["test"]])
    groups = [name[0] for split in splits for name in split["test"]] if group else None
    expected = bootstrap_interval(values, groups=groups, n_resamples=2000)
    pooled = [float(ours[key]) for key in ("pooled", "low", "high")]
    assert pooled == pytest.approx([values.mean(), *expected[1:]])
    folds = [np.mean([dice("ours", name) for name in split["test"]]) for split in splits]
    assert float(ours["value"]) == pytest.approx(np.mean(folds)) and ours["images"] == "20"
    assert float(ours["sd"]) == pytest.approx(np.std(folds, ddof=1)) and ours["seeds"] == "4"
    assert float(other["difference"]) == pytest.approx(0.1)
    assert float(other["difference_p"]) == pytest.approx(2 / 2001) == pytest.approx(float(other["difference_p_holm"]))
    each = read(out / "comparison_folds_trainings.csv")
    assert [float(line["value"]) for line in each if line["name"] == "ours"] == pytest.approx(folds)
    page = (out / "comparison_folds.md").read_text(encoding="utf8")
    assert "| dice by fold | 1 | 2 | 3 | 4 |" in page and "groups (10)" in page if group else "20 images" in page
    assert ", p < 0.001, better |" in page
    runs.clear()
    assert compare.main([str(bundle), "--plan", str(plan), "--folds", "4", "--output_dir", str(out)]) == 0
    assert runs == []  # the same folds again, whatever their files' dates


def test_other_folds_are_other_trainings_and_half_a_cross_validation_pools_nothing(tmp_path, runs, monkeypatch):
    bundle, out = write_bundle(tmp_path), tmp_path / "out"
    words = [str(bundle), "--rows", "ours", "--output_dir", str(out), "--folds", "4"]
    run, failing = programs.execute, {"ours-fold-3"}
    monkeypatch.setattr(
        programs,
        "execute",
        lambda command, stdout, **options: (
            1 if any(name in command[6] for name in failing) else run(command, stdout, **options)
        ),
    )
    assert compare.main(words) == 1
    ours, _ = read(out / "comparison_folds.csv")
    assert ours["pooled"] == "" and ours["status"].startswith("3 of 4 done")
    assert "ours: 3 of 4 folds are complete, so nothing is pooled yet" in (out / "comparison_folds.md").read_text()
    failing.clear()
    runs.clear()
    assert compare.main(words) == 0
    names = {re.sub("-[0-9a-f]{8}", "", overlay["run_name"]) for _, overlay in runs}  # without the folder's digest
    assert names == {"ours-fold-3", "ours-fold-3-test"}
    runs.clear()
    assert compare.main([*words, "--fold_seed", "1"]) == 0
    assert len(runs) == 8


def test_parts_that_the_data_have_are_those_of_the_folds(tmp_path, runs):
    """A config with ``split_counts`` takes no split file beside it."""
    bundle = write_bundle(tmp_path, split_counts=[3, 1, 1])
    assert compare.main([str(bundle), "--rows", "ours", "--folds", "2", "--output_dir", str(tmp_path / "out")]) == 0
    assert all(overlay["split_counts"] is None and overlay["split_file"] for _, overlay in runs)


@every_bundle
def test_folds_of_every_bundle_are_what_its_trainings_read(bundle, tmp_path):
    """The demo sets: the files of the folds, read again by the bundle's own datalists."""
    words = ["--datalists#demo_counts", "[16, 8, 4]"]
    plan = read_plan(bundle.folder, bundle.folder / "configs" / "comparison.yaml", words=words, folds=2)
    plan = with_folds(plan, tmp_path)
    pool = {item["name"] for item in development_items(plan, tmp_path).items}
    tested = []
    for number in (1, 2):
        overrides = plan.training_overrides(plan.rows[0], 0, number)
        overrides |= {"bundle_root": str(bundle.folder), "output_dir": str(tmp_path)}
        overlay = tmp_path / "overlay.yaml"
        overlay.write_text(yaml.safe_dump(overrides), encoding="utf8")
        parser = ConfigParser()
        parser.read_config(plan.configs(plan.rows[0], str(overlay)))
        lists = parser.get_parsed_content("datalists")
        parts = [{item["name"] for item in lists[part]} for part in ("training", "validation", "test")]
        assert all(parts) and set().union(*parts) == pool and sum(map(len, parts)) == len(pool) == 24
        tested += parts[2]
    assert sorted(tested) == sorted(pool)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 1}, "folds must be a whole number from 2 on, got 1"),
        ({"folds": "many"}, "folds must be a whole number"),
        ({"folds": 3, "fold_seed": -1}, "fold_seed must be a whole number"),
        ({"folds": 3, "rows": [{"name": "ours", "overrides": {"split_file": "a.json"}}]}, "'split_file'.* overridden"),
    ],
)
def test_bad_plans_are_named(tmp_path, change, message):
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({**PLAN, **change}), encoding="utf8")
    with pytest.raises(PlanError, match=message):
        read_plan(write_bundle(tmp_path), file)


@pytest.mark.parametrize(
    ("group", "folds", "lists", "message"),
    [
        ("^([a-z])", "11", {}, "10 groups cannot make 11 folds"),
        ("^(q)", "2", {}, r"(?s)group '\^\(q\)' fits no part of the name \(18\).*wx"),
        (None, "2", {"training": [{"name": "a"}] * 2, "validation": [], "test": []}, "name of several images"),
        ("^([a-z])", "2", {"training": [{"name": "a", "group": "1"}], "validation": []}, "groups of their own"),
    ],
)
def test_data_that_have_no_such_folds_are_one_line(tmp_path, runs, capsys, group, folds, lists, message):
    bundle = write_bundle(tmp_path, **({"datalists": lists} if lists else {}))
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({**PLAN, **({"group": group} if group else {})}), encoding="utf8")
    with pytest.raises(SystemExit) as ended:
        compare.main([str(bundle), "--plan", str(plan), "--folds", folds, "--output_dir", str(tmp_path / "out")])
    assert ended.value.code == 2 and re.search(message, capsys.readouterr().err) and runs == []
