"""``medssm_monai.experiments.fusion_downstream``: labels that need both sources, one command to the table; runs are
stood in for."""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from monai.transforms import LoadImage
from PIL import Image

from medssm_monai.experiments import fusion_downstream, plan_rows, programs
from medssm_monai.experiments.downstream_data import CLASSES, SOURCES, write_pairs


@pytest.mark.parametrize(("dims", "size"), [(2, 64), (3, 32)])
def test_each_source_shows_half_of_the_label(tmp_path, dims, size):
    """Lesions are the brightest tissue of A, specks of B; the other source says nothing about them."""
    write_pairs(tmp_path, dims, size, (40, 4, 4))
    load = LoadImage(image_only=True)
    inner = (slice(size // 3, 2 * size // 3),) * dims
    for source, number in zip(SOURCES, (0, 1), strict=True):
        bright = {False: [], True: []}
        for file in sorted((tmp_path / "training" / source).iterdir()):
            shown = bool(CLASSES[file.name.partition("-")[0]][number])
            bright[shown].append(float(np.quantile(np.asarray(load(file))[inner], 0.98)))
        assert len(bright[True]) == len(bright[False]) == 20
        assert np.median(bright[True]) > np.median(bright[False]) + 8


@pytest.fixture
def runs(monkeypatch):
    """Stands in for the bundles: training writes weights, inference copies source A, evaluation reports an accuracy."""
    steps = []

    def run(command, stdout, **options):
        step, files = command[4], ast.literal_eval(command[6])
        overlay = yaml.safe_load(Path(files[-1]).read_text(encoding="utf8"))
        steps.append((step, overlay))
        if step == "inferring":
            out = Path(overlay["output_dir"])
            out.mkdir(parents=True, exist_ok=True)
            for file in (Path(overlay["dataset_dir"]) / SOURCES[0]).iterdir():
                Image.open(file).save(out / f"{file.stem}_fused.png")
        if step == "evaluating":
            assert len(list(Path(overlay["dataset_dir"]).rglob("*.png"))) == 16
            folder = Path(overlay["run_dir"])
            folder.mkdir(parents=True, exist_ok=True)
            metrics = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
            (folder / "summary.json").write_text(json.dumps({"metrics": metrics, "images": 4, "data": "fused"}))
        return 0

    counted = {"input_shape": "1x24x24", "parameters": 10, "convolutions": 20, "total": 30, "scan_flops": 40}
    monkeypatch.setattr(programs, "execute", run)
    monkeypatch.setattr(plan_rows, "cost", lambda files: dict(counted))
    return steps


SMALL = ["--size", "24", "--counts", "8", "4", "4", "--epochs", "1", "--fusion_epochs", "1"]


def test_one_command_makes_one_table(tmp_path, runs, caplog, capsys):
    caplog.set_level("INFO")
    words = [*SMALL, "--output_dir", str(tmp_path)]
    assert fusion_downstream.main(words) == 0
    assert [step for step, _ in runs] == ["training", *["inferring"] * 3, *["training", "evaluating"] * 3]
    with open(tmp_path / "classification" / "ablations.csv") as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == ["source A", "source B", "fused"]
    assert "not real" in caplog.text
    fused = tmp_path / "classes" / "generated_fused" / "test"  # reports and MLflow call the data by this name
    assert sorted(path.name for path in fused.iterdir()) == sorted(CLASSES)
    runs.clear()
    assert fusion_downstream.main(words) == 0 and runs == []  # all done before
    assert fusion_downstream.main([*words, "--seed", "1"]) == 2
    assert "made with other options" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--size", "30"], ["--counts", "8", "1", "4"], ["--fusion_ckpt", "nowhere.pt"]])
def test_bad_options_are_refused(words, runs, capsys):
    with pytest.raises(SystemExit):
        fusion_downstream.main(words)
    assert "error" in capsys.readouterr().err and not runs
