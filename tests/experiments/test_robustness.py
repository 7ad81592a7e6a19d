"""``medssm_monai.experiments.robustness``: rows, differences, resuming and the table; evaluations are stood in for."""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from monai.bundle import ConfigParser

from medssm_monai.experiments import programs, robustness
from medssm_monai.experiments.robustness_rows import CLEAN, STRENGTHS, robustness_rows
from medssm_monai.experiments.robustness_scores import compare, read_summary
from medssm_monai.metrics import bootstrap_interval
from medssm_monai.reports import ClassifiedImage, summarize_classification, write_predictions, write_summary
from medssm_monai.transforms import Corrupt

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "medconvmamba"
WEIGHTS = BUNDLE / "models" / "model.pt"
NAMES = ["=negative", "positive"]  # a name that a spreadsheet would run


def evaluate(folder: Path, right: int, group: bool = False, names: list[str] = NAMES) -> None:
    """Leave what an evaluation of twelve images leaves, of which the first ones are right."""
    labels = np.arange(12) % 2
    sure = np.where(np.arange(12) < right, 0.9, 0.2)
    probabilities = np.where(labels[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    files, groups = [f"{n:02d}.png" for n in range(12)], [f"p{n // 3}" for n in range(12)] if group else None
    records = [
        ClassifiedImage(*entry) for entry in zip(files, probabilities, labels, groups or [None] * 12, strict=True)
    ]
    summary = summarize_classification(records, names, n_resamples=100)
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "per_image.csv", files, probabilities, names, labels, groups=groups)
    write_summary({**summary, "data": "toy", "details": {"weights": "own"}}, folder / "summary.json")


@pytest.fixture
def runs(monkeypatch):
    """Stands in for the bundle: clean images give ten right answers of twelve, corrupted ones seven."""
    state = SimpleNamespace(overlays=[], failing=set())

    def execute(command, stdout, **options):
        files = ast.literal_eval(command[6])
        overlay = yaml.safe_load(Path(files[-1]).read_text(encoding="utf8"))
        state.overlays.append((overlay, [Path(file).name for file in files[:-1]]))
        if overlay["run_name"] in state.failing:
            stdout.write("What went wrong: ValueError: no such image\n")
            return 1
        evaluate(Path(overlay["run_dir"]), 10 if overlay["run_name"] == CLEAN else 7)
        return 0

    monkeypatch.setattr(programs, "execute", execute)
    return state


@pytest.fixture
def start(tmp_path):
    """Run the command: ``start("--rows", "noise 0.1")``."""

    def run(*words: str, weights: Path = WEIGHTS) -> tuple[int, list[dict[str, str]], str]:
        given = [str(BUNDLE), "--dataset_dir", "demo", "--ckpt_path", str(weights)]
        status = robustness.main([*given, "--output_dir", str(tmp_path / "out"), *words])
        with (tmp_path / "out" / "robustness.csv").open(encoding="utf8") as stream:
            rows = list(csv.DictReader(stream))
        return status, rows, (tmp_path / "out" / "robustness.md").read_text(encoding="utf8")

    return run


ONE = ("--rows", "noise 0.1")


def test_table_holds_figures_and_paired_differences(runs, start):
    status, rows, page = start(*ONE)
    assert status == 0
    assert [(row["row"], row["metric"]) for row in rows] == [
        (row, metric) for row in ("clean", "noise 0.1") for metric in ("accuracy", "roc_auc")
    ]
    hits = [(np.arange(12) < right).astype(float) for right in (7, 10)]
    expected = bootstrap_interval(hits[0] - hits[1], n_resamples=100)
    found = [float(rows[2][key]) for key in ("difference", "difference_low", "difference_high")]
    assert found == pytest.approx(expected) and float(rows[2]["value"]) == pytest.approx(7 / 12)
    assert rows[0]["difference"] == "" and rows[0]["images"] == "12" and rows[0]["data"] == "toy"
    assert "| noise 0.1 | 0.583 (" in page and "| **-0.250 (" in page and "Weights: own." in page


def test_rows_change_one_setting_and_name_the_weights(runs, start):
    start(*ONE, "--overlay", "breastmnist.yaml", "--seed", "5", "--", "--batch_size", "4")
    (clean, names), (noise, _) = runs.overlays
    assert names == ["train.yaml", "breastmnist.yaml", "evaluate.yaml"]
    assert noise["corruption"] == {"kind": "noise", "strength": 0.1, "seed": 5} and "corruption" not in clean
    assert clean["batch_size"] == 4 and clean["ckpt_path"] == str(WEIGHTS) and clean["dataset_dir"] == "demo"


def test_rows_that_are_done_are_not_repeated_unless_what_decides_them_changed(runs, start, tmp_path):
    weights = tmp_path / "model.pt"
    for suffix in (".pt", ".json"):
        shutil.copy(WEIGHTS.with_suffix(suffix), weights.with_suffix(suffix))
    start(*ONE, weights=weights)
    assert len(runs.overlays) == 2
    assert start(*ONE, "--metrics", "f1_macro", weights=weights)[1][1]["metric"] == "f1_macro"
    assert len(runs.overlays) == 2
    start(*ONE, "--seed", "1", weights=weights)
    assert [overlay["run_name"] for overlay, _ in runs.overlays[2:]] == ["noise-0-1"]
    settings = json.loads(weights.with_suffix(".json").read_text())
    weights.with_suffix(".json").write_text(json.dumps({**settings, "temperature": 2.0}))
    start(*ONE, "--seed", "1", weights=weights)
    assert len(runs.overlays) == 5


def test_a_failing_row_is_reported_and_runs_again(runs, start):
    runs.failing = {"blur-1-0"}
    words = ("--rows", "blur 1.0", "noise 0.1")
    status, rows, page = start(*words)
    assert status == 1 and [row["status"] for row in rows] == ["done"] * 4 + ["failed"]
    assert "no such image" in rows[-1]["error"] and "* **blur 1.0** failed: " in page
    runs.failing, before = set(), len(runs.overlays)
    assert start(*words)[0] == 0 and len(runs.overlays) == before + 1


def test_without_clean_images_nothing_else_runs(runs, start):
    runs.failing = {CLEAN}
    status, rows, _ = start(*ONE)
    assert status == 1 and len(runs.overlays) == 1 and [row["row"] for row in rows] == [CLEAN]


def test_an_unknown_metric_is_named_without_running_again(runs, start):
    start(*ONE)
    status, rows, _ = start(*ONE, "--metrics", "dice")
    assert status == 1 and "no metrics dice, only accuracy" in rows[0]["error"] and len(runs.overlays) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--overlay", "nothing.yaml"], "no such file.*nothing.yaml"),
        (["--rows", "fog 1"], r"no rows \['fog 1'\].*noise 0.05"),
        (["--", "batch_size", "2"], "pairs of --key"),
        (["--ckpt_path", "nowhere/model.pt"], "no such file.*nowhere"),
        (["--", "--image_size", "[28]"], "image_size is .28.*2 whole numbers"),
    ],
)
def test_bad_command_lines_are_named_before_anything_runs(runs, start, capsys, words, message):
    with pytest.raises(SystemExit):
        start(*words)
    assert not runs.overlays
    assert re.search(message, capsys.readouterr().err)


def sizes(bundle: str, **settings) -> list[dict]:
    parser = ConfigParser()
    files = [ROOT / "bundles" / bundle / "configs" / f"{name}.yaml" for name in ("train", "evaluate")]
    parser.read_config([str(file) for file in files])
    parser.update(settings)
    rows = robustness_rows(parser, seed=0)
    assert rows[0].overrides == {} and len({row.slug for row in rows}) == len(rows)
    corruptions = [row.overrides["corruption"] for row in rows if "corruption" in row.overrides]
    volumes = settings.get("spatial_dims") == 3  # no JPEG of them
    expected = [
        kind for kind, strengths, _ in STRENGTHS.values() for _ in strengths if not (volumes and kind == "jpeg")
    ]
    assert [corruption["kind"] for corruption in corruptions] == expected and len(expected) == (15 if volumes else 18)
    assert all(Corrupt(**corruption) for corruption in corruptions)
    return [row.overrides for row in rows[1 + len(corruptions) :]]


@pytest.mark.parametrize(
    ("bundle", "settings", "expected"),
    [
        ("medconvmamba", {"image_size": [28, 28], "patch_size": 4}, [[16, 16], [56, 56]]),
        ("medconvmamba", {"image_size": [8, 8], "patch_size": 8}, [[16, 16]]),  # no smaller one
        ("medspectralnet", {"image_size": [96, 64]}, [[48, 32], [192, 128]]),
        ("medspectralnet", {"image_size": 16, "spatial_dims": 3}, [[8] * 3, [32] * 3]),
    ],
)
def test_sizes_are_half_and_double_or_the_next_that_is_taken(bundle, settings, expected):
    assert sizes(bundle, **settings) == [{"image_size": size} for size in expected]


def test_sizes_of_a_segmentation_and_of_a_fusion():
    found = sizes("mamba_mis", image_size=[96, 96])
    assert found == [{"resize_to": size, "roi_size": size} for size in ([64, 64], [192, 192])]
    assert sizes("clinical_fmamba") == [{"zoom": 0.5}, {"zoom": 2}]


@pytest.mark.parametrize("group", [False, True])
def test_differences_of_classifications_resample_what_the_report_did(tmp_path, group):
    evaluate(tmp_path / "clean", 10, group)
    evaluate(tmp_path / "other", 7, group)
    hits = [(np.arange(12) < right).astype(float) for right in (7, 10)]
    groups = [n // 3 for n in range(12)] if group else None
    found = compare(tmp_path / "other", tmp_path / "clean", ["accuracy"])
    expected = bootstrap_interval(hits[0] - hits[1], n_resamples=100, groups=groups)
    assert found["accuracy"] == pytest.approx(expected)


def test_differences_of_segmentations_and_fusions_are_those_of_each_image(tmp_path):
    bootstrap = {"n_resamples": 50, "confidence": 0.95, "seed": 0, "unit": "image"}
    for name, scores in (("clean", "0.9 0.8 0.7"), ("other", "0.5  0.6")):
        (tmp_path / name).mkdir()
        rows = [f"{n}.png,{score}" for n, score in enumerate(scores.split(" "))]
        (tmp_path / name / "per_image.csv").write_text("\n".join(["image,dice", *rows]) + "\n")
        (tmp_path / name / "summary.json").write_text(json.dumps({"per_image": {}, "bootstrap": bootstrap}))
    found = compare(tmp_path / "other", tmp_path / "clean", ["dice"])["dice"]
    assert found == pytest.approx(bootstrap_interval([-0.4, float("nan"), -0.1], n_resamples=50))
    for name, fused in (("clean", 0.9), ("other", 0.4)):
        table = f"image,row,qabf\na,fused,{fused}\na,average,0.1\nb,fused,{fused}\nb,average,0.2\n"
        (tmp_path / name / "per_pair.csv").write_text(table)
        (tmp_path / name / "summary.json").write_text(json.dumps({"rows": {"fused": {}}, "bootstrap": bootstrap}))
    assert tuple(compare(tmp_path / "other", tmp_path / "clean", ["qabf"])["qabf"]) == pytest.approx((-0.5,) * 3)
    (tmp_path / "other" / "per_pair.csv").write_text("image,row,qabf\na,fused,0.4\n")
    with pytest.raises(programs.RowError, match="not evaluations of the same images"):
        compare(tmp_path / "other", tmp_path / "clean", ["qabf"])
    with pytest.raises(programs.RowError, match=r"left no .*summary\.json"):
        read_summary(tmp_path / "nowhere")
