"""``medssm_monai.experiments.tune``: grids, studies, what is kept and what is refused; trainings are stood in for by a
program that writes what a watched training writes."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest
import yaml
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from medssm_monai.experiments import programs, tune, tune_optuna
from medssm_monai.experiments.plans import PlanError
from medssm_monai.experiments.tune_space import Choice, Range, grid_rows, read_search
from medssm_monai.experiments.tune_watch import ValidationWatch, read_watch

NEEDS_OPTUNA = "Optuna (extra tune) is not installed"
GRID = "{'learning_rate': [0.1, 0.2, 0.4], 'network_args#depth': [1, 2]}"
SPACE = "{'learning_rate': {low: 0.01, high: 1.0, log: true}, 'network_args#depth': [1, [2, 2]]}"


def figure(overlay: dict) -> float:
    """Best at a learning rate of 0.2 and depth 2; the network of the demo is not asked."""
    return 0.9 - abs(overlay["learning_rate"] - 0.2) + (0.05 if overlay.get("network_args#depth") == 2 else 0.0)


@pytest.fixture
def bundle(tmp_path):
    configs = tmp_path / "tiny" / "configs"
    configs.mkdir(parents=True)
    content = {"learning_rate": 0.1, "network_args": {}, "max_epochs": 3, "dataset_dir": "demo", "warmup_epochs": 1}
    content |= {"resume": False, "kept_name": "@run_name"}
    (configs / "train.yaml").write_text(yaml.safe_dump(content), encoding="utf8")
    return configs.parent


@pytest.fixture
def runs(monkeypatch):
    state = SimpleNamespace(overlays=[], failing=lambda overlay: False, interrupted=set(), pruned=set())

    def run(command, stdout, **options):
        overlay = yaml.safe_load(Path(ast.literal_eval(command[6])[-1]).read_text(encoding="utf8"))
        folder = Path(overlay["run_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint_epoch=1.pt").touch()
        assert command[4] == "training"  # nothing else: the test part is not for a study
        state.overlays.append(overlay)
        if folder.parent.name in state.interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        if state.failing(overlay):
            stdout.write("ValueError: the loss is NaN\n")
            return 1
        (watch,) = overlay["+train#handlers"]
        values = {"1": figure(overlay) - 0.1, "2": figure(overlay), "3": figure(overlay)}
        pruned = 2 if folder.parent.name in state.pruned else None
        content = {"metric": "val_dice", "values": values, "pruned": pruned}
        Path(watch["path"]).write_text(json.dumps(content), encoding="utf8")
        return 0

    monkeypatch.setattr(programs, "execute", run)
    return state


@pytest.fixture
def start(bundle, tmp_path, runs):
    def run(*words: str) -> tuple[int, list[dict[str, str]], str]:
        status = tune.main([str(bundle), "--output_dir", str(tmp_path / "out"), *words])
        with (tmp_path / "out" / "tune.csv").open(encoding="utf8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return status, rows, (tmp_path / "out" / "tune.md").read_text(encoding="utf8")

    run.out = tmp_path / "out"
    return run


def test_a_grid_trains_every_combination_and_keeps_the_best_as_an_overlay(bundle, runs, start):
    status, rows, page = start("--grid", GRID, "--", "--max_epochs", "5")
    assert status == 0 and len(runs.overlays) == 6 and all(overlay["max_epochs"] == 5 for overlay in runs.overlays)
    assert (rows[0]["learning_rate"], rows[0]["network_args#depth"]) == ("0.2", "2")
    assert float(rows[0]["score"]) == pytest.approx(0.95) and rows[0]["best_epoch"] == "2"  # the first of equals
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / "train.yaml"), str(start.out / "best.yaml")])
    assert parser["learning_rate"] == 0.2 and parser["network_args"]["depth"] == 2 and parser["max_epochs"] == 3
    assert "val_dice 0.9500 on the validation part (6 complete, median" in page and "best.yaml" in page
    assert "--max_epochs 5" in page


def test_the_same_command_skips_what_is_done_and_a_larger_grid_adds_to_it(runs, start):
    start("--grid", "{'learning_rate': [0.1, 0.2]}")
    runs.overlays.clear()
    start("--grid", "{'learning_rate': [0.1, 0.2]}")
    assert runs.overlays == []
    _, rows, _ = start("--grid", "{'learning_rate': [0.4, 0.2, 0.1]}")
    assert [overlay["learning_rate"] for overlay in runs.overlays] == [0.4] and len(rows) == 3
    start("--grid", "{'learning_rate': [0.1, 0.2]}", "--", "--max_epochs", "5")
    assert len(runs.overlays) == 3  # other settings, other trials


def test_trials_of_two_folders_have_names_of_their_own(bundle, runs, tmp_path):
    """A tracking server would take the second for the first, going on."""
    for folder in ("a", "b", "a"):
        runs.failing = lambda overlay: True
        tune.main([str(bundle), "--output_dir", str(tmp_path / folder / "tune"), "--grid", "{'learning_rate': [0.2]}"])
    first, second, again = (overlay["run_name"] for overlay in runs.overlays)
    assert first == again != second and first.rpartition("-")[0] == second.rpartition("-")[0]


def test_failures_are_listed_and_repeated_and_do_not_end_the_study(runs, start):
    runs.failing = lambda overlay: overlay["learning_rate"] == 0.2
    status, rows, page = start("--grid", "{'learning_rate': [0.2, 0.1, 0.4]}")
    assert status == 1 and [row["status"] for row in rows] == ["done", "done", "failed"]
    assert "the loss is NaN" in rows[-1]["error"] and "** failed: RowError" in page
    assert yaml.safe_load((start.out / "best.yaml").read_text()) == {"learning_rate": 0.1}
    runs.failing, runs.overlays = lambda overlay: False, []
    assert start("--grid", "{'learning_rate': [0.2, 0.1, 0.4]}")[0] == 0
    assert [overlay["learning_rate"] for overlay in runs.overlays] == [0.2]


def test_a_study_without_any_figure_says_so(runs, start):
    runs.failing = lambda overlay: True
    status, _, page = start("--grid", "{'learning_rate': [0.2]}")
    assert status == 1 and "No trial is complete." in page and not (start.out / "best.yaml").exists()


def test_optuna_proposes_trials_and_an_interruption_changes_none(runs, start, tmp_path, bundle):
    pytest.importorskip("optuna", reason=NEEDS_OPTUNA)
    words = ["--space", SPACE, "--trials", "4"]
    assert tune.main([str(bundle), "--output_dir", str(tmp_path / "whole"), *words]) == 0
    drawn = [overlay["learning_rate"] for overlay in runs.overlays]
    assert len(set(drawn)) == 4 and all(0.01 <= rate <= 1 for rate in drawn)
    assert {str(overlay["network_args#depth"]) for overlay in runs.overlays} <= {"1", "[2, 2]"}
    runs.overlays, runs.interrupted = [], {"trial-002"}
    assert tune.main([str(bundle), "--output_dir", str(start.out), *words]) == 143
    runs.interrupted, before = set(), len(runs.overlays)
    status, rows, _ = start(*words)
    assert status == 0 and len(rows) == 4
    assert [overlay["learning_rate"] for overlay in runs.overlays] == [*drawn[:3], *drawn[2:]]
    assert "resume_from" in runs.overlays[before] and runs.overlays[before]["run_name"].startswith("trial-002-")
    runs.overlays.clear()
    assert len(start("--space", SPACE, "--trials", "5")[1]) == 5 and len(runs.overlays) == 1
    assert len(start("--space", SPACE, "--trials", "5", "--seed", "1")[1]) == 5
    assert runs.overlays[1]["learning_rate"] != drawn[0] and len(runs.overlays) == 6  # another study


def test_a_pruned_trial_is_never_the_best_and_a_failed_one_is_listed(runs, start):
    pytest.importorskip("optuna", reason=NEEDS_OPTUNA)
    words = ["--space", "{'learning_rate': [0.2]}", "--trials", "3"]
    runs.pruned = {"trial-000"}
    runs.failing = lambda overlay: overlay["run_name"].startswith("trial-001-")
    status, rows, page = start(*words)
    assert status == 1 and [row["status"] for row in rows] == ["done", "pruned", "failed"]
    assert rows[0]["name"] == "trial 002" and "(pruned)" in page
    assert all(overlay["+train#handlers"][0]["pruning"]["warm_up"] == 1 for overlay in runs.overlays)
    runs.overlays.clear()
    start("--space", "{'learning_rate': [0.2]}", "--trials", "4", "--no_pruning")  # the same study, from here on
    assert runs.overlays[0]["+train#handlers"][0]["pruning"] is None


def test_without_optuna_a_grid_works_and_a_study_says_what_to_install(runs, start, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert start("--grid", "{'learning_rate': [0.2]}")[0] == 0
    with pytest.raises(SystemExit) as ended:
        start("--space", SPACE, "--trials", "2")
    assert ended.value.code == 2 and "pip install 'medssm-monai[tune]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one of --grid"),
        (["--grid", "{'learning_rate': [1]}", "--space", "{'max_epochs': [1]}"], "give one of --grid"),
        (
            ["--grid", "{'learning_rate': 0.1, 'max_epochs': [2, 2]}"],
            "learning_rate: a grid needs a list.*max_epochs: exp",
        ),
        (["--grid", "[1"], "--grid is no YAML"),
        (
            ["--grid", "{'learning_rat': [1], 'dataset_dir': [a]}"],
            "no learning_rat; did you mean learning_rate.*decides the",
        ),
        (
            ["--grid", "{'resume': [true], 'kept_name': [a]}"],
            "resume is chosen by the study itself; kept_name is chosen",
        ),
        (["--grid", "{'max_epochs': [1]}", "--", "--max_epochs", "3"], r"max_epochs is searched and fixed \(3\)"),
        (["--grid", "{'max_epochs': [1]}", "--trials", "3"], "a grid has as many as it has combinations"),
        (["--space", "{'max_epochs': [1]}"], "trials: how many"),
        (["--space", "{'max_epochs': {low: 3, high: 1}}", "--trials", "2"], "expected low < high"),
        (["--space", "{'max_epochs': {low: 0, high: 1, log: true}}", "--trials", "2"], "log needs low > 0"),
        (["--space", "{'max_epochs': {low: 1e-4, high: 1}}", "--trials", "2"], "numbers \\(1.0e-4 with a point"),
        (["--plan", "nowhere.yaml"], "no file nowhere.yaml"),
    ],
)
def test_what_cannot_be_searched_is_one_line(bundle, runs, capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        tune.main([str(bundle), "--output_dir", str(bundle / "out"), *words])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2 and runs.overlays == []
    assert re.search(message, said), said


def test_a_file_has_it_all(bundle, runs, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("grid: {learning_rate: [0.1, 0.2]}\noverrides: {max_epochs: 7}\n", encoding="utf8")
    assert tune.main([str(bundle), "--plan", str(file), "--output_dir", str(tmp_path / "out")]) == 0
    assert [overlay["max_epochs"] for overlay in runs.overlays] == [7, 7]
    file.write_text("grid: {learning_rate: [0.1]}\nrows: []\n", encoding="utf8")
    with pytest.raises(PlanError, match=r"got \['rows'\] too"):
        read_search(file)
    found = read_search(None, None, "{a: {low: 1, high: 4}, b: {low: 0.0, high: 1, step: 0.25}, c: [x]}", 3)
    assert found.keys == {"a": Range(1, 4), "b": Range(0.0, 1, False, 0.25), "c": Choice(("x",))}
    assert found.keys["a"].whole and not found.keys["b"].whole


def test_names_of_a_grids_rows_come_from_their_values():
    small, large = (grid_rows(read_search(None, grid)) for grid in ("{a: [1, 2]}", "{a: [2, 3, 1]}"))
    assert {row.name for row in small} < {row.name for row in large} and len({row.slug for row in large}) == 3


class Validator(SimpleNamespace):
    @staticmethod
    def metric_cmp_fn(now, before):
        return now > before


def watched(path, values, pruning=None, first=1):
    """A trainer whose evaluator gave these figures, None where an epoch had no validation; its last epoch."""
    trainer, state = Engine(lambda engine, batch: None), SimpleNamespace(epoch=0, metrics={}, key_metric_name="dice")

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        value = values[engine.state.epoch - first]
        if value is not None:
            state.epoch, state.metrics = engine.state.epoch, {"dice": value}

    ValidationWatch(Validator(state=state), str(path), pruning).attach(trainer)
    trainer.state.epoch, trainer.state.max_epochs, trainer.state.epoch_length = first - 1, first - 1 + len(values), 1
    trainer.state.iteration = first - 1
    trainer.run([0], max_epochs=first - 1 + len(values))
    return trainer.state.epoch


def test_the_watch_notes_validations_and_goes_on_after_an_interruption(tmp_path):
    file = tmp_path / "watch.json"
    watched(file, [0.1, None, float("nan"), 0.3])
    assert read_watch(file) == {"metric": "dice", "values": {"1": 0.1, "4": 0.3}, "pruned": None}
    watched(file, [0.5, 0.6], first=4)
    assert read_watch(file)["values"] == {"1": 0.1, "4": 0.5, "5": 0.6}
    trainer = Engine(lambda engine, batch: None)
    state = SimpleNamespace(epoch=1, metrics={}, key_metric_name=None)
    ValidationWatch(Validator(state=state), str(file)).attach(trainer)
    with pytest.raises(ValueError, match="compared by a validation figure"):
        trainer.run([0], max_epochs=1)


def test_optuna_ends_a_training_that_falls_behind(tmp_path):
    """The median of the trials before it at the same epoch, after the warm-up: as Optuna's own pruner has it."""
    pytest.importorskip("optuna", reason=NEEDS_OPTUNA)
    study = tune_optuna.OptunaStudy(tmp_path, "s", read_search(None, None, "{a: {low: 0.0, high: 1.0}}", 9))
    for number in range(5):
        known, _ = study.propose()
        assert watched(tmp_path / f"{number}.json", [0.1, 0.5], study.pruning(known, 1)) == 2
        study.tell(known, 0.5)
    worse, _ = study.propose()
    file = tmp_path / "worse.json"
    assert watched(file, [0.0, 0.2, 0.9], study.pruning(worse, 1)) == 2
    assert read_watch(file) == {"metric": "dice", "values": {"1": 0.0, "2": 0.2}, "pruned": 2}
    study.tell(worse, 0.2, pruned=True)
    better, _ = study.propose()
    assert watched(file, [0.0, 0.6, 0.9], study.pruning(better, 1)) == 3
    study.tell(better, None)
    assert [state for _, state in study.rows().values()] == ["complete"] * 5 + ["pruned", "fail"]


def test_starts_at_the_same_time_make_one_study_and_draw_other_values(tmp_path):
    pytest.importorskip("optuna", reason=NEEDS_OPTUNA)
    search, starts = read_search(None, None, "{a: {low: 0.0, high: 1.0}}", 9), 4
    together = Barrier(starts)

    def start(_):
        together.wait()
        return tune_optuna.OptunaStudy(tmp_path, "s", search).propose()

    with ThreadPoolExecutor(starts) as threads:
        proposed = list(threads.map(start, range(starts)))
    assert sorted(number for number, _ in proposed) == list(range(starts))
    trials = tune_optuna.OptunaStudy(tmp_path, "s", search).study.get_trials()
    assert len({trial.params["a"] for trial in trials}) == starts
