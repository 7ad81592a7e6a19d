"""``medssm_monai.experiments.ablate``: plans, resuming, failing rows and the table; runs are stood in for."""

from __future__ import annotations

import ast
import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from medssm_monai.experiments import ablate, plan_rows, programs
from medssm_monai.experiments.plans import Plan, PlanError, Row, parse_words, read_plan
from medssm_monai.networks.nets import MedConvMamba

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "medconvmamba"
COUNTED = {"input_shape": "3x8x8", "parameters": 1234, "convolutions": 10**9, "total": 2 * 10**9}
COUNTED["scan_flops"] = 5 * 10**8
PLAN = """
metric: accuracy
overrides: {max_epochs: 3}
rows:
  - name: whole
  - name: Depth 3
    overrides: {network_args#depth: 3, batch_size: 8}
"""


@pytest.fixture
def runs(monkeypatch):
    """Stands in for the bundle: notes each step with its overlay; a row that is in ``failing`` exits with 1."""
    state = SimpleNamespace(steps=[], failing=set(), data="demo (synthetic)", accuracy=0.75)

    def run(command, stdout, **options):
        step, files = command[4], ast.literal_eval(command[6])
        overlay = yaml.safe_load(Path(files[-1]).read_text(encoding="utf8"))
        name = re.sub("-[0-9a-f]{8}(?=$|-test$)", "", overlay["run_name"])  # without the digest of the folder
        state.steps.append((name, step, files, overlay))
        if (name, step) in state.failing:
            stdout.write("Traceback\nWhat went wrong: ValueError: no such image\n\n")
            return 1
        if step == "evaluating":
            figures = {"accuracy": state.accuracy, "f1_macro": 0.5}
            metrics = {name: {"value": v, "low": v - 0.1, "high": v + 0.1} for name, v in figures.items()}
            folder = Path(overlay["run_dir"])
            folder.mkdir(parents=True, exist_ok=True)
            summary = {"metrics": metrics, "images": 40, "data": state.data}
            (folder / "summary.json").write_text(json.dumps(summary))
        return 0

    monkeypatch.setattr(programs, "execute", run)
    monkeypatch.setattr(plan_rows, "cost", lambda files: dict(COUNTED))
    return state


@pytest.fixture
def start(tmp_path):
    """Run the script on a small plan: ``start("--rows", "whole")``."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN, encoding="utf8")

    def run(*words: str) -> tuple[int, list[dict[str, str]], str]:
        status = ablate.main([str(BUNDLE), "--plan", str(plan), "--output_dir", str(tmp_path / "out"), *words])
        with (tmp_path / "out" / "ablations.csv").open(encoding="utf8") as stream:
            rows = list(csv.DictReader(stream))
        return status, rows, (tmp_path / "out" / "ablations.md").read_text(encoding="utf8")

    run.plan = plan
    return run


def test_table_holds_costs_metric_interval_and_says_that_the_data_are_synthetic(runs, start):
    status, rows, page = start()
    assert status == 0
    assert [row["name"] for row in rows] == ["whole", "Depth 3"]
    for row in rows:
        assert {key: row[key] for key in COUNTED} == {key: str(value) for key, value in COUNTED.items()}
        assert (float(row["value"]), float(row["low"]), float(row["high"])) == pytest.approx((0.75, 0.65, 0.85))
        assert float(row["training_seconds"]) >= 0 and row["data"] == "demo (synthetic)"
    assert "| whole | 3x8x8 | 1,234 | 1 | 2 | 0.5 | 0.750 | 0.650 to 0.850 |" in page
    assert "**Synthetic demo data" in page


def test_table_of_real_data_does_not_call_them_synthetic(runs, start):
    runs.data = "pneumoniamnist"
    assert "ynthetic" not in start()[2]


def test_overrides_come_after_overlays_and_the_evaluation_keeps_the_settings_of_the_checkpoint(runs, start):
    start("--overlay", "breastmnist.yaml", "--rows", "Depth 3", "--", "--dataset_dir", "a folder", "--max_epochs=7")
    (name, _, files, training), (_, step, evaluation_files, evaluation) = runs.steps
    assert name == "depth-3" and step == "evaluating"
    assert [Path(file).name for file in files] == ["train.yaml", "breastmnist.yaml", "training.yaml"]
    names = [Path(file).name for file in evaluation_files]
    assert names == ["train.yaml", "breastmnist.yaml", "evaluate.yaml", "evaluating.yaml"]
    expected = {"dataset_dir": "a folder", "max_epochs": 7, "network_args#depth": 3, "batch_size": 8}
    assert training.items() >= expected.items()
    assert evaluation["dataset_dir"] == "a folder" and "network_args#depth" not in evaluation
    assert training["ckpt_dir"] == evaluation["ckpt_dir"] and training["run_dir"] != evaluation["run_dir"]


def test_rows_that_are_done_are_not_repeated(runs, start):
    start("--rows", "whole")
    first = len(runs.steps)
    status, rows, _ = start()
    assert status == 0 and [name for name, *_ in runs.steps[first:]] == ["depth-3", "depth-3-test"]
    assert [row["status"] for row in rows] == ["done", "done"]


def test_another_metric_is_read_from_the_reports_without_running_again(runs, start):
    start()
    count = len(runs.steps)
    start.plan.write_text(PLAN.replace("accuracy", "f1_macro"), encoding="utf8")
    assert {row["value"] for row in start()[1]} == {"0.5"} and len(runs.steps) == count
    start.plan.write_text(PLAN.replace("accuracy", "dice"), encoding="utf8")
    status, rows, _ = start()
    assert status == 1 and "no metric 'dice', only accuracy, f1_macro" in rows[0]["error"]
    assert rows[0]["value"] == ""


def test_rows_whose_settings_changed_run_again(runs, start):
    start()
    runs.steps.clear()
    start.plan.write_text(PLAN.replace("network_args#depth: 3", "network_args#depth: 2"), encoding="utf8")
    start()
    assert [name for name, *_ in runs.steps] == ["depth-3", "depth-3-test"]
    runs.steps.clear()
    start("--", "--learning_rate", "0.1")
    assert len(runs.steps) == 4


def test_a_failing_row_is_reported_and_the_others_run(runs, start):
    runs.failing = {("whole", "training")}
    status, rows, page = start()
    assert status == 1 and [row["status"] for row in rows] == ["failed", "done"]
    assert "What went wrong: ValueError: no such image" in rows[0]["error"]
    assert "* **whole** failed: " in page and "| failed |" in page


def test_a_failed_evaluation_does_not_cost_the_training(runs, start):
    runs.failing = {("whole-test", "evaluating")}
    assert start("--rows", "whole")[0] == 1
    runs.failing, before = set(), len(runs.steps)
    status, rows, page = start("--rows", "whole")
    assert status == 0 and [step for _, step, *_ in runs.steps[before:]] == ["evaluating"]
    assert rows[0]["error"] == "" and "| failed |" not in page


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("metric: accuracy\n", "expected .*'metric', 'rows'"),
        ("metric: accuracy\nrows: []\n", "needs rows"),
        ("metric: accuracy\nrows: [{name: a}, {name: A}]\n", "names differ"),
        ("metric: accuracy\nrows: [{name: a, override: {}}]\n", "a row: expected"),
        ("- name: a\n", "expected"),
    ],
)
def test_bad_plans_are_named(tmp_path, plan, message):
    (tmp_path / "plan.yaml").write_text(plan, encoding="utf8")
    with pytest.raises(PlanError, match=message):
        read_plan(BUNDLE, tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--overlay", "nothing.yaml"], "no such config.*nothing.yaml"),
        (["--rows", "depth 9"], r"no rows \['depth 9'\].*Depth 3"),
        (["--", "max_epochs", "2"], "pairs of --key"),
        (["--", "--max_epochs"], "pairs of --key"),
    ],
)
def test_bad_command_lines_are_named_before_anything_runs(runs, start, capsys, words, message):
    with pytest.raises(SystemExit):
        start(*words)
    assert not runs.steps
    assert re.search(message, capsys.readouterr().err)


def test_values_of_words_are_yaml():
    words = ["--a", "2", "--b=x=y", "--c", "[1, 2]", "--d", "null", "--e", "$torch.device('cpu')"]
    assert parse_words(words) == {"a": 2, "b": "x=y", "c": [1, 2], "d": None, "e": "$torch.device('cpu')"}


def test_the_plan_of_the_bundle_holds_the_ablations_of_the_paper_and_the_stem():
    plan = read_plan(BUNDLE)
    built = {}
    for row in plan.rows:
        overrides = plan.training_overrides(row)
        arguments = {key.removeprefix("network_args#"): v for key, v in overrides.items() if key.startswith("network")}
        net = MedConvMamba(num_classes=4, patch_size=overrides["patch_size"], **arguments)
        built[row.name] = sum(p.numel() for p in net.parameters())
    assert sorted(built.values()) == sorted(
        [4_125_316, 1_789_828, 8_212_420, 4_201_348, 4_235_908, 4_726_660, 33_026_884, 4_276_036, 4_334_644, 3_926_404]
    )


def test_cost_is_that_of_the_network_of_the_configs(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    small = {"network_args": {"embed_dim": 16, "depth": 2}, "image_size": [32, 32], "output_dir": str(tmp_path)}
    overlay.write_text(yaml.safe_dump({**small, "datalists#demo_counts": [4, 4, 4]}), encoding="utf8")
    plan = Plan(BUNDLE, ("accuracy",), (Row("a"),))
    counted = plan_rows.cost(plan.configs(plan.rows[0], str(overlay)))
    net = MedConvMamba(num_classes=4, embed_dim=16, depth=2)
    assert counted["parameters"] == sum(p.numel() for p in net.parameters())
    assert counted["input_shape"] == "3x32x32"
    assert counted["convolutions"] == 16 * (16 * 3 * 64 + 2 * 16 * 16 * 9)


@pytest.mark.integration
def test_rows_really_run(tmp_path):
    shared = {"network_args": {"embed_dim": 16, "d_state": 4, "depth": 1}, "image_size": [32, 32], "max_epochs": 1}
    shared |= {"datalists#demo_counts": [8, 4, 4], "batch_size": 4, "device": "$torch.device('cpu')"}
    rows = [{"name": "broken", "overrides": {"network_args#fusion": "mean"}}]
    rows += [{"name": "identity", "overrides": {"network_args#scan": "identity"}}]
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"metric": "accuracy", "overrides": shared, "rows": rows}), encoding="utf8")
    assert ablate.main([str(BUNDLE), "--plan", str(plan), "--output_dir", str(tmp_path / "out")]) == 1
    with (tmp_path / "out" / "ablations.csv").open(encoding="utf8") as stream:
        done = list(csv.DictReader(stream))
    assert [row["status"] for row in done] == ["failed", "done"]
    assert "fusion must be one of" in done[0]["error"]
    assert done[1]["scan_flops"] == "0" and done[1]["images"] == "4" and done[1]["data"] == "demo (synthetic)"
