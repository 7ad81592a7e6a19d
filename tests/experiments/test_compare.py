"""``medssm_monai.experiments.compare``: seeds, interruptions, shared folders, budgets and the table; runs are stood in
for by a small bundle's files and a program that writes what an evaluation writes."""

from __future__ import annotations

import ast
import csv
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from filelock import FileLock

from medssm_monai.bundle.runs import LOCK
from medssm_monai.experiments import compare, plan_budget, plan_rows, programs
from medssm_monai.experiments.plan_budget import ProcessorClock, epochs_within
from medssm_monai.experiments.plan_scores import read_scores
from medssm_monai.experiments.plans import PlanError, read_plan
from medssm_monai.experiments.programs import RowError, execute
from medssm_monai.metrics import bootstrap_interval

PLAN = """
metric: [dice, iou]
seeds: [0, 1, 2]
reference: ours
rows:
  - name: ours
  - name: Other
    overrides: {depth: 3}
"""
IMAGES = 24
EPOCH = 10.0  # processor seconds of the stand-in's epochs


def scores(row: str, seed: int) -> np.ndarray:
    """Dice of the stand-in: hard and easy images, Other better by 0.05, seeds differ a little."""
    images = np.linspace(0.2, 0.8, IMAGES)
    return images + (0.05 if row == "other" else 0.0) + 0.01 * seed


def write_evaluation(folder: Path, dice: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"image,dice,iou,tp\n{''.join(f'{i}.png,{v},{v / 2},1{chr(10)}' for i, v in enumerate(dice))}"]
    (folder / "per_image.csv").write_text("".join(lines), encoding="utf8")
    per_image = {
        name: {"mean": v, "low": v - 0.1, "high": v + 0.1}
        for name, v in (("dice", dice.mean()), ("iou", dice.mean() / 2))
    }
    (folder / "summary.json").write_text(json.dumps({"per_image": per_image, "images": len(dice), "data": "real"}))


@pytest.fixture
def bundle(tmp_path):
    configs = tmp_path / "tiny" / "configs"
    configs.mkdir(parents=True)
    for name in ("train", "evaluate", "wide"):
        content = {"val_interval": 2, "warmup_epochs": 1} if name == "train" else {name: True}
        (configs / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf8")
    (configs / "comparison.yaml").write_text(PLAN, encoding="utf8")
    return configs.parent


@pytest.fixture
def runs(monkeypatch):
    """Stands in for the bundle. ``failing`` names steps that exit with 1, ``interrupted`` those that SIGTERM ends."""
    state = SimpleNamespace(steps=[], failing=set(), interrupted=set(), meanwhile=None)

    def run(command, stdout, **options):
        step, overlay = command[4], yaml.safe_load(Path(ast.literal_eval(command[6])[-1]).read_text(encoding="utf8"))
        folder = Path(overlay["run_dir"])
        name = folder.parent.name if step == "training" else f"{folder.parent.name}-test"
        state.steps.append((name, step, overlay))
        if state.meanwhile is not None:
            state.meanwhile(name)
        if step == "training":
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint_epoch=4.pt").touch()
        if (name, step) in state.interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # the signal comes before
        if (name, step) in state.failing:
            stdout.write("Traceback\nValueError: no such image\n")
            return 1
        if "+train#handlers" in overlay:
            (handler,) = overlay["+train#handlers"]
            lines = [f"{3 + EPOCH * (epoch + 1)}" for epoch in range(overlay["max_epochs"])]
            Path(handler["path"]).write_text("\n".join(lines), encoding="utf8")
        if step == "evaluating":
            row, _, seed = name.removesuffix("-test").partition("-seed-")
            write_evaluation(folder, scores(row, int(seed or 0)))
        return 0

    monkeypatch.setattr(programs, "execute", run)
    monkeypatch.setattr(plan_rows, "cost", lambda files: {"input_shape": "1x8x8", "parameters": 1234})
    return state


@pytest.fixture
def start(bundle, tmp_path, runs):
    def run(*words: str) -> tuple[int, list[dict[str, str]], str]:
        status = compare.main([str(bundle), "--output_dir", str(tmp_path / "out"), *words])
        if not (tmp_path / "out" / "comparison.csv").is_file():
            return status, [], ""
        with (tmp_path / "out" / "comparison.csv").open(encoding="utf8") as stream:
            rows = list(csv.DictReader(stream))
        return status, rows, (tmp_path / "out" / "comparison.md").read_text(encoding="utf8")

    run.out, run.plan = tmp_path / "out", bundle / "configs" / "comparison.yaml"
    return run


def steps(runs, kind="training"):
    return [name for name, step, _ in runs.steps if step == kind]


def test_every_row_is_trained_with_every_seed_and_compared_image_by_image(runs, start):
    status, lines, page = start()
    assert status == 0 and len(steps(runs)) == len(steps(runs, "evaluating")) == 6
    assert steps(runs)[:2] == ["ours-seed-0", "other-seed-0"]  # all rows with one seed first
    assert [overlay["seed"] for _, step, overlay in runs.steps if step == "training"] == [0, 0, 1, 1, 2, 2]
    by = {(line["name"], line["metric"]): line for line in lines}
    ours, other = by["ours", "dice"], by["Other", "dice"]
    assert float(ours["value"]) == pytest.approx(0.51) and float(ours["sd"]) == pytest.approx(0.01)
    assert (float(ours["min"]), float(ours["max"])) == pytest.approx((0.5, 0.52))
    assert ours["difference"] == "" and ours["seeds"] == "3"
    assert float(other["difference"]) == pytest.approx(0.05)
    low, high = float(other["difference_low"]), float(other["difference_high"])
    assert 0 < low < 0.05 < high < 0.1  # images cancel
    assert float(other["high"]) - float(other["low"]) > 0.1  # and do not in the row's own
    assert float(by["Other", "iou"]["difference"]) == pytest.approx(0.025)
    assert ", better |" in page and "hierarchical" not in page and "same ones for all rows" in page


def test_a_row_that_fails_in_the_middle_does_not_stop_the_others(runs, start):
    runs.failing = {("other-seed-0", "training")}
    status, lines, page = start()
    assert status == 1 and len(steps(runs, "evaluating")) == 5
    assert next(line for line in lines if line["name"] == "Other")["status"].startswith("2 of 3 done")
    assert "* **Other** 2 of 3 done" in page and "no such image" in page
    runs.failing, runs.steps = set(), []
    assert start()[0] == 0 and steps(runs) == ["other-seed-0"]


def test_what_is_complete_is_not_repeated_and_what_changed_is_kept_aside(runs, start, caplog):
    caplog.set_level("INFO")
    start()
    runs.steps.clear()
    start()
    assert runs.steps == []
    start.plan.write_text(PLAN.replace("depth: 3", "depth: 4"), encoding="utf8")
    start("--seeds", "0")
    assert steps(runs) == ["other-seed-0"]
    assert "Other, seed 0: its settings changed since it ran (depth: 3, now 4), so it runs again" in caplog.text
    assert len(list(start.out.glob("other-seed-0_until_*/row.json"))) == 1
    assert "not in the plan" in caplog.text and "ours-seed-2" in caplog.text


def test_another_evaluation_does_not_cost_the_training(runs, start):
    start("--seeds", "0")
    runs.steps.clear()
    start.plan.write_text(PLAN + "evaluation: {report_metrics: polyp}\n", encoding="utf8")
    assert start("--seeds", "0")[0] == 0
    assert steps(runs) == [] and steps(runs, "evaluating") == ["ours-seed-0-test", "other-seed-0-test"]
    assert all(overlay["report_metrics"] == "polyp" for _, _, overlay in runs.steps)


def test_sigterm_leaves_a_state_from_which_a_restart_resumes(runs, start):
    before = signal.getsignal(signal.SIGTERM)
    runs.interrupted = {("other-seed-0", "training")}
    assert start()[0] == 143 and signal.getsignal(signal.SIGTERM) is before
    record = json.loads((start.out / "other-seed-0" / "row.json").read_text())
    assert record["status"] == "interrupted" and not record["trained"]
    first = record["attempts"][0]["wall"]
    runs.interrupted, runs.steps = set(), []
    assert start()[0] == 0
    name, _, overlay = runs.steps[0]
    assert name == "other-seed-0" and overlay["resume_from"] == overlay["run_dir"]
    assert "resume_from" not in runs.steps[2][2]
    record = json.loads((start.out / "other-seed-0" / "row.json").read_text())
    assert record["status"] == "done" and len(record["attempts"]) == 2 and record["training_seconds"] > first


def test_changed_settings_do_not_resume_the_old_checkpoint(runs, start):
    runs.interrupted = {("ours-seed-0", "training")}
    start()
    runs.interrupted, runs.steps = set(), []
    start("--seeds", "0", "--", "--batch_size", "2")
    assert all("resume_from" not in overlay for _, _, overlay in runs.steps)


def test_a_killed_runner_leaves_times_unknown(runs, start):
    start("--seeds", "0", "--rows", "ours")
    file = start.out / "ours-seed-0" / "row.json"
    record = json.loads(file.read_text())
    record["attempts"].insert(0, {"began": "before", "wall": None, "processor": None})
    file.write_text(json.dumps({**record, "trained": False}))
    _, lines, _ = start("--seeds", "0", "--rows", "ours")
    assert json.loads(file.read_text())["training_seconds"] is None and lines[0]["training_seconds"] == ""


@pytest.mark.parametrize("lock", [".ours-seed-0.lock", f"ours-seed-0/training/{LOCK}"])
def test_a_row_that_another_process_has_is_left_to_it(runs, start, caplog, lock):
    """The second lock is that of a training which a killed runner has left behind."""
    caplog.set_level("INFO")
    (start.out / lock).parent.mkdir(parents=True)
    with FileLock(start.out / lock):
        status, lines, _ = start("--seeds", "0")
    assert status == 0 and steps(runs) == ["other-seed-0"]
    assert "left to the other process" in caplog.text and lines[0]["status"] == "not run"
    runs.steps.clear()
    assert start("--seeds", "0")[0] == 0 and steps(runs) == ["ours-seed-0"]


def test_two_runners_share_the_rows(runs, start):
    """A second runner that starts while the first one trains takes the rows that are free, and none twice."""
    second: list[threading.Thread] = []

    def meanwhile(name):
        if not second:
            second.append(threading.Thread(target=start))
            second[0].start()
            second[0].join()

    runs.meanwhile = meanwhile
    status, lines, _ = start()
    assert status == 0 and sorted(steps(runs)) == sorted(
        f"{row}-seed-{n}" for row in ("ours", "other") for n in range(3)
    )
    assert {line["status"] for line in lines} == {"done"}


def test_epochs_are_those_that_fit_into_the_minutes(runs, start, monkeypatch):
    spent = programs.Spent(60.0, 47.0)
    monkeypatch.setattr(plan_budget, "stopwatch", lambda: __import__("contextlib").nullcontext(spent))
    status, lines, _ = start("--seeds", "0", "1", "--max_minutes", "2")
    assert status == 0
    calibrated = [(name, overlay["max_epochs"]) for name, _, overlay in runs.steps if "+train#handlers" in overlay]
    assert calibrated == [("ours-calibration", 4), ("other-calibration", 4)]  # once for all seeds
    trained = [overlay for name, step, overlay in runs.steps if step == "training" and "seed" in name]
    # 120 s, of which 47 - 4 * 10 are fixed: 11.3 epochs of 10 s, the last of them validated (every second)
    assert all(overlay["max_epochs"] == overlay["patience"] == 10 for overlay in trained) and len(trained) == 4
    record = json.loads((start.out / "ours-seed-1" / "row.json").read_text())
    assert record["calibration"]["seconds_per_epoch"] == pytest.approx(EPOCH)
    assert record["calibration"]["fixed_seconds"] == pytest.approx(7.0) and lines[0]["max_epochs"] == "10"


def test_too_few_minutes_are_named():
    assert epochs_within(1.0, 5.0, 10.0, 1) == 10
    assert epochs_within(1.0, 5.0, 10.0, 4) == 8
    with pytest.raises(RowError, match="0.1 processor minutes are too few: 1 epoch"):
        epochs_within(0.1, 5.0, 10.0, 1)


def test_clock_notes_processor_seconds_of_each_epoch(tmp_path):
    from ignite.engine import Engine

    engine, file = Engine(lambda engine, batch: sum(range(200_000))), tmp_path / "clock.txt"
    file.write_text("old\n")
    ProcessorClock(str(file)).attach(engine)
    engine.run([0] * 5, max_epochs=3)
    times = [float(line) for line in file.read_text().split()]
    assert len(times) == 3 and times[0] < times[1] < times[2] <= time.process_time()


def test_a_program_is_ended_with_its_runner(tmp_path):
    """SIGTERM reaches the program, which closes, before the error goes on."""
    code = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n    pathlib.Path('closed').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path('ready').touch(); time.sleep(60)"
    )

    def stop():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with (
        (tmp_path / "log").open("w") as log,
        pytest.raises(compare.Terminated),
        compare.ended_by_sigterm(),
    ):
        execute([sys.executable, "-c", code], stdout=log, cwd=tmp_path)
    assert (tmp_path / "closed").exists()


def test_processor_time_is_that_of_the_program(tmp_path):
    with (tmp_path / "log").open("w") as log, programs.stopwatch() as spent:
        code = "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(0.3)"
        assert execute([sys.executable, "-c", code], stdout=log) == 0
    assert 0.3 <= spent.processor < spent.wall


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("reference: theirs", "reference is 'theirs', but the rows are"),
        ("budget: epochs", "budget is 'steps'"),
        ("minutes: 3", "budget is 'steps'"),
        ("budget: minutes", "minutes must be a number above 0"),
        ("overrides: {seed: 3}", "'seed' is overridden"),
        ("{budget: minutes, minutes: 3, overrides: {max_epochs: 3}}", "'max_epochs' is overridden"),
        ("seed: 3", "expected .*'metric', 'rows'"),
    ],
)
def test_bad_plans_are_named(bundle, change, message):
    plan = {**yaml.safe_load(PLAN), **yaml.safe_load(change)}
    file = bundle / "configs" / "bad.yaml"
    file.write_text(yaml.safe_dump(plan), encoding="utf8")
    with pytest.raises(PlanError, match=message):
        read_plan(bundle, file)


@pytest.mark.parametrize(("group", "groups"), [(r"^(\d)", 10), (None, None)])
def test_groups_are_resampled_where_the_plan_names_them(runs, start, group, groups):
    if group:
        start.plan.write_text(PLAN + f"group: '{group}'\n", encoding="utf8")
    _, lines, page = start("--seeds", "0")
    other = lines[2]
    assert other["name"] == "Other"
    if groups:
        labels = [str(i)[0] for i in range(IMAGES)]
        expected = bootstrap_interval(scores("other", 0), groups=labels, n_resamples=2000)
        assert (float(other["low"]), float(other["high"])) == pytest.approx(expected[1:])
        assert f"groups ({len(set(labels))})" in page
    else:  # the evaluation's own
        assert float(other["high"]) - float(other["value"]) == pytest.approx(0.1)


def test_a_group_that_fits_no_name_is_said_in_the_table(runs, start):
    start.plan.write_text(PLAN + "group: x+\n", encoding="utf8")
    status, lines, page = start("--seeds", "0")
    assert status == 0 and lines[2]["difference"] == "" and float(lines[2]["value"]) == pytest.approx(0.55)
    assert "Other, seed 0 has no interval and is not compared: group 'x+' fits no part" in page


def test_a_group_that_fits_no_name_is_named(tmp_path):
    write_evaluation(tmp_path, scores("ours", 0))
    with pytest.raises(ValueError, match=r"'x\+' fits no part of the image's name '0.png'"):
        read_scores(tmp_path, ("dice",), "x+")
    with pytest.raises(ValueError, match="no hd95 by image, only image, dice"):
        read_scores(tmp_path, ("hd95",))


def test_predictions_and_pairs_are_read_as_the_reports_write_them(tmp_path):
    from medssm_monai.reports.fusion import FusedPair, write_per_pair
    from medssm_monai.reports.predictions_table import write_predictions

    table, labels = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8]]), [0, 1, 1, 0]
    (tmp_path / "summary.json").write_text(json.dumps({"class_names": ["-no", "yes"]}))
    write_predictions(tmp_path / "per_image.csv", list("abcd"), table, ["-no", "yes"], labels)
    found = read_scores(tmp_path, ("accuracy", "roc_auc"))
    figures = found.statistics["fused"](np.array([[1, 1, 1, 1], [2, 1, 0, 0]]))
    assert found.images == tuple("abcd") and figures["accuracy"].tolist() == [0.5, 1.0]
    assert figures["roc_auc"].tolist() == [0.5, 1.0]
    pairs = [
        FusedPair(n, (8, 8), {"fused": {"qabf": q}, "average": {"qabf": q / 2}}, 0.1, group=n[0])
        for n, q in (("a1", 0.4), ("a2", 0.6), ("b1", 0.8))
    ]
    write_per_pair(pairs, tmp_path / "per_pair.csv")
    found = read_scores(tmp_path, ("qabf",))
    assert found.groups == ("a", "a", "b")
    means = [found.statistics[row](np.ones((1, 3), int))["qabf"][0] for row in ("fused", "average")]
    assert means == pytest.approx([0.6, 0.3])
