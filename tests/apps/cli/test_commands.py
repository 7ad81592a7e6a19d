"""The command ``medssm``, as a program and through its ``main``."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medssm_monai
from medssm_monai.apps.cli import main
from medssm_monai.apps.cli.main import FORWARDED, _parser

from ...bundle.tiny_bundles import BUNDLES

COMMANDS = sorted({*_parser()[1], *FORWARDED})


def medssm(*words: str, cwd: Path, status: int = 0, **variables: str) -> str:
    """Run ``python -m medssm_monai``; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "medssm_monai", *words],
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == status, done.stdout[-6000:]
    return done.stdout


@pytest.fixture
def pictures(tmp_path):
    """Two gray and two colored pictures in the current folder."""
    generator = np.random.default_rng(0)
    for name, shape in {"a": (40, 30), "b": (40, 30), "skin": (64, 48, 3), "skin 2": (48, 64, 3)}.items():
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in FORWARDED])
def test_help_shows_an_example_that_the_parser_takes(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out
    example = re.search(r"example:\n  medssm (.*)", text).group(1)
    words = shlex.split(example)
    assert words[0] == command
    parser, commands = _parser()
    from medssm_monai.apps.cli.words import without_overrides

    own, _ = without_overrides(words[1:], commands[command])
    assert parser.parse_args([command, *own]).command == command


def test_every_command_is_in_the_help(capsys):
    assert main([]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [name for name in COMMANDS if name not in text] == []
    assert "Not a medical device" in text


@pytest.mark.parametrize("command", sorted(FORWARDED))
def test_the_modules_of_forwarded_commands_take_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: medssm {command}" in capsys.readouterr().out


def test_list_names_every_bundle_and_its_weights(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for folder in (path for path in BUNDLES.iterdir() if path.is_dir()):
        assert f"{folder.name} {medssm_monai.__version__}" in text
        assert str(folder) in text
    assert text.count("come with the bundle") == len(list(BUNDLES.glob("*/models/*.pt")))


def test_doctor_says_what_would_be_used(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["medssm-monai"] == medssm_monai.__version__
    assert found["would be used"]["device"] in ("cpu", "cuda:0")
    assert found["scan backends"]["reference"] == "ready"
    assert set(found["bundles"]) == {folder.name for folder in BUNDLES.iterdir() if folder.is_dir()}
    assert found["weights of the package"] == {"SHA-256": "15 files, all as they came with the package"}
    assert main(["doctor"]) == 0
    assert "All well." in capsys.readouterr().out


def test_doctor_names_what_stands_in_the_way(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("medssm_monai.apps.cli.doctor.is_writable", lambda folder: False)
    monkeypatch.setattr("medssm_monai.apps.cli.doctor.list_bundles", dict)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "PROBLEM: no bundles in" in text and "cannot be written to" in text


def test_doctor_notices_weights_that_were_exchanged(capsys, monkeypatch, tmp_path):
    weights = tmp_path / "mamba_mis" / "models" / "model.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"others")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  mamba_mis/models/model.pt\n")
    monkeypatch.setattr("medssm_monai.bundle.shipped.shipped_place", lambda: tmp_path)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "not as they came with the package" in text and "mamba_mis/models/model.pt differs" in text


SHOWN = [
    (
        ["train", "mamba_mis", "--overlay", "isic2017", "--max_epochs", "2", "--verbose", "--dry-run"],
        ["run", "training", "['C/train.yaml', 'C/isic2017.yaml']", "--max_epochs 2 --verbose True"],
    ),
    (
        ["evaluate", "mamba_mis", "--overlay", "cvc_clinicdb.yaml", "--dataset_dir", "x", "--dry-run"],
        ["run", "evaluating", "['C/train.yaml', 'C/cvc_clinicdb.yaml', 'C/evaluate.yaml']", "--dataset_dir x"],
    ),
    (
        ["predict", "mamba_mis", "skin.png", "-o", "out", "--threshold", "0.3", "--dry-run"],
        ["run", "inferring", "C/inference.yaml", "--dataset_dir HERE/skin.png", "--output_dir HERE/out", "--threshold"],
    ),
    (
        ["predict", "clinical_fmamba", "a.png", "b.png", "--weights", "volume", "--dry-run"],
        ["--output_dir HERE/clinical_fmamba_results", "--ckpt_path", "clinical_fmamba/models/volume.pt", "pair.csv"],
    ),
    (["explain", "medconvmamba", "a.png", "--dry-run"], ["run", "explaining", "C/inference.yaml"]),
    (
        ["evaluate", "mamba_mis", "--weights", "shipped", "--part", "all", "--dry-run"],
        ["run", "evaluating", "--ckpt_path", "mamba_mis/models/model.pt --part all"],
    ),
]


@pytest.mark.parametrize(("words", "expected"), SHOWN, ids=[" ".join(words[:3]) for words, _ in SHOWN])
def test_a_dry_run_shows_monais_own_command(pictures, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(pictures)
    assert main(words) == 0
    line = capsys.readouterr().out
    assert "-m monai.bundle run" in line
    configs = str(BUNDLES / words[1] / "configs")
    for text in expected:
        assert text.replace("C/", f"{configs}/").replace("HERE", str(pictures)) in line


BAD = [
    (["predict", "mamba_miss", "a.png"], "(meant: 'mamba_mis'?)"),
    (["predict", "mamba_mis", "nothing.png"], "'nothing.png' not found"),
    (["predict", "clinical_fmamba", "a.png", "b.png", "skin.png"], "a fusion takes two images"),
    (["predict", "clinical_fmamba", "a.png"], "a fusion takes two images, and a.png is one"),
    (["predict", "mamba_mis", "a.png", "--weights", "other"], "those that come with mamba_mis (model.pt"),
    (["explain", "mamba_mis", "a.png"], "mamba_mis has nothing to explain"),
    (["train", "mamba_mis", "--overlay", "isic"], "mamba_mis has baseline_unet"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[message for _, message in BAD])
def test_what_cannot_be_run_is_one_line(pictures, monkeypatch, capsys, words, message):
    monkeypatch.chdir(pictures)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"medssm {words[0]}: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize("words", [["nothing"], ["list", "--colour", "red"], ["predict", "mamba_mis"]])
def test_unknown_words_end_with_usage(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: medssm" in capsys.readouterr().err


def test_predict_is_the_predictors_answer(pictures):
    output = medssm("predict", "mamba_mis", "skin.png", "skin 2.png", "--threshold", "0.4", "-o", "out", cwd=pictures)
    predictor = medssm_monai.load("mamba_mis", threshold=0.4)
    with open(pictures / "out" / "segmentations.csv", newline="", encoding="utf-8-sig") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    for name in ("skin", "skin 2"):
        mask = predictor.predict(pictures / f"{name}.png").mask
        saved = np.asarray(Image.open(pictures / "out" / f"{name}.png"))
        np.testing.assert_array_equal(saved > 0, mask > 0)
        share = float(rows[f"{name}.png"]["share"])
        assert share == pytest.approx(mask.mean(), abs=1e-6)
        assert f"{name}.png: foreground {100 * share:.1f} % of the image" in output
    assert "Look at it: out/overlays/skin" in output.replace("\\", "/")
    assert "parsing config_file" not in output  # the bundle came with the package
    assert re.search(r"^Inference finished: 2 of 2 images done$", output, re.MULTILINE)


def test_predict_goes_on_after_a_bad_file_and_says_so(pictures):
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    output = medssm("predict", "medconvmamba", "broken.png", "a.png", cwd=pictures, status=3)
    assert re.search(r"a\.png: (normal|pneumonia) \(0\.\d+\)", output)
    assert (pictures / "medconvmamba_results" / "failed.csv").is_file()


def test_explain_writes_a_picture(pictures):
    output = medssm("explain", "medspectralnet", "a.png", "-o", "seen", cwd=pictures)
    assert re.search(r"Look at it: seen.explanations", output)


@pytest.mark.integration
def test_what_an_earlier_run_left_in_the_folder_is_not_shown(pictures):
    medssm("predict", "mamba_mis", "skin.png", "-o", "out", cwd=pictures)
    output = medssm("predict", "medconvmamba", "a.png", "-o", "out", cwd=pictures)
    assert re.search(r"a\.png: (normal|pneumonia)", output)
    assert "skin" not in output and "Look at it" not in output
    output = medssm("predict", "clinical_fmamba", "a.png", "b.png", "-o", "out", cwd=pictures)
    assert f"Look at it: out{os.sep}a_fused.png" in output and "pneumonia" not in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "mamba_mis", "--max_epochs", "three"], "max_epochs is the text 'three'; it takes a number, 25"),
        (["train", "mamba_mis", "--max_epoch", "3"], "(did you mean 'max_epochs'"),
    ],
)
def test_what_the_config_refuses_is_said_at_the_end(tmp_path, words, message):
    output = medssm(*words, cwd=tmp_path, status=2)
    assert message in output.splitlines()[-1] and "Traceback" not in output


def test_without_its_packages_the_command_names_the_environment(tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.modules['torch'] = None\n"
        f"sys.path.insert(0, {str(BUNDLES.parent)!r})\n"
        "runpy.run_module('medssm_monai', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "needs the package 'torch'" in done.stderr and "source .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr


def test_fusion_of_two_files(pictures):
    output = medssm("predict", "clinical_fmamba", "a.png", "b.png", "-o", "fused", cwd=pictures)
    (picture,) = (pictures / "fused").glob("*.png")
    assert f"Look at it: fused{os.sep}{picture.name}" in output
    expected = medssm_monai.load("clinical_fmamba").predict((pictures / "a.png", pictures / "b.png")).image
    assert np.abs(np.asarray(Image.open(picture), dtype=float) / 255 - expected).max() <= 0.5 / 255 + 1e-6


@pytest.mark.integration
@pytest.mark.thorough
def test_an_installed_bundle_trains_into_the_current_folder_and_uses_it(tmp_path):
    """The package as a wheel lays it out: bundles inside, nothing beside."""
    site = tmp_path / "site"
    package = Path(medssm_monai.__file__).parent
    shutil.copytree(package, site / "medssm_monai", ignore=shutil.ignore_patterns("__pycache__"))
    ignore = shutil.ignore_patterns("eval", "trained", "outputs", "__pycache__")
    shutil.copytree(BUNDLES / "mamba_mis", site / "medssm_monai" / "bundles" / "mamba_mis", ignore=ignore)
    before = sorted(path for path in (site / "medssm_monai" / "bundles").rglob("*"))
    here = tmp_path / "here"
    here.mkdir()
    tiny = [
        "--network_args",
        "{'base_dim':8,'d_state':4}",
        "--image_size",
        "[32,32]",
        "--max_epochs",
        "1",
        "--batch_size",
        "48",
    ]
    environment = {"PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    backend = {"MEDSSM_SCAN_BACKEND": "blocked"}  # compiles nothing
    output = medssm("train", "mamba_mis", *tiny, cwd=here, **environment, **backend)
    assert "Trained: best val_mean_dice" in output
    assert "--weights shipped takes those that come with the bundle" in output
    assert re.search(r"next +medssm evaluate mamba_mis --batch_size 48$", output, re.MULTILINE)
    assert sorted(path for path in (site / "medssm_monai" / "bundles").rglob("*")) == before
    assert (here / "mamba_mis" / "models" / "trained" / "model.pt").is_file()
    listed = medssm("list", cwd=here, **environment)
    assert "trained/model.pt (your own training, trained on demo" in listed
    elsewhere = medssm("list", cwd=tmp_path, **environment)
    assert "models/model.pt (come with the bundle, trained on isic2017" in elsewhere
