"""Which weights lie in ``models/`` and which of them answer, alike in every bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch
from filelock import FileLock
from monai.bundle import ConfigWorkflow

from medssm_monai.data import ImageReadError

from ..bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, VOLUMES, copy_bundle
from ..thorough import first_of
from .bundle_runs import BUNDLES, CLASSIFIERS, REPOSITORY, command_line, every_bundle, failing

TINY = {tiny.bundle: tiny for tiny in (MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, CLINICAL_FMAMBA)}
SOURCES = {"clinical_fmamba": ("x_a.png", "x_b.png")}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def infer(root, source, out, **overrides):
    """Run a copied bundle's inference."""
    settings = {"bundle_root": str(root), "output_dir": f"$'{out.as_posix()}'", "dataset_dir": str(source)}
    config = str(root / "configs" / "inference.yaml")
    flow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **settings, **overrides)
    flow.initialize()
    flow.run()
    flow.finalize()


@pytest.fixture
def images(tmp_path, write_image):
    """A folder of one image, or of one pair, for a bundle: ``images(name)``."""

    def make(name):
        for number, file in enumerate(SOURCES.get(name, ("x.png",))):
            write_image(tmp_path / "images" / file, 40, 36, "L", seed=number)
        return tmp_path / "images"

    return make


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"dataset_dir": "nowhere"}, FileNotFoundError, "nowhere"),
        ({"variant": "no_such_net"}, ValueError, "unknown network"),
        ({"resume_from": "no.pt"}, FileNotFoundError, r"no\.pt"),
    ],
    ids=["data", "network", "checkpoint"],
)
@every_bundle
def test_a_start_that_fails_leaves_models_as_it_is(bundle, tmp_path, wrong, kind, said):
    models = tmp_path / "models"
    models.mkdir()
    for name in ("model.pt", "model.json"):
        (models / name).write_bytes(name.encode())
    before = content(models)
    settings = {key: value for key, value in bundle.tiny.items() if not ("dataset_dir" in wrong and "demo" in key)}
    with failing(kind, said):
        bundle.run(("train.yaml",), tmp_path, **{**settings, **wrong})
    assert content(models) == before


@every_bundle
def test_a_folder_in_which_a_training_runs_is_refused(bundle, tmp_path):
    (tmp_path / "busy").mkdir()
    with FileLock(tmp_path / "busy" / ".training.lock"), failing(RuntimeError, "a training is running.*--run_name"):
        bundle.run(("train.yaml",), tmp_path, **bundle.tiny, run_name="busy")


@every_bundle
def test_weights_of_another_form_run_in_inference(bundle, tmp_path, images, caplog):
    root = copy_bundle(TINY[bundle.name], tmp_path)
    model = root / "models" / "model.pt"
    state = torch.load(model, weights_only=True)
    torch.save({"state_dict": {f"module._orig_mod.{key}": value for key, value in state.items()}}, model)
    with caplog.at_level("INFO"):
        infer(root, images(bundle.name), tmp_path / "out")
    said = [record.getMessage() for record in caplog.records]
    assert sum("taken off around the weights: the entry 'state_dict'" in line for line in said) == 1
    assert sum(line.startswith(f"weights: {model} (your own training") for line in said) == 1
    assert any(path.suffix in (".png", ".csv") for path in (tmp_path / "out").rglob("*"))


@every_bundle
def test_weights_without_their_settings_are_one_clear_line(bundle, tmp_path, images):
    root = copy_bundle(TINY[bundle.name], tmp_path)
    (root / "models" / "model.json").unlink()
    with failing(ValueError, r"model\.pt: there is no model\.json beside it.*copy it along"):
        infer(root, images(bundle.name), tmp_path / "out")


@pytest.mark.parametrize("traces", ["model.json", "model_20260102-030405.pt"])
@pytest.mark.parametrize("bundle", CLASSIFIERS, ids=str)
def test_shipped_weights_do_not_answer_for_lost_own_ones(bundle, tmp_path, images, traces):
    root = copy_bundle(TINY[bundle.name], tmp_path, weights=False)
    shipped = root / "models" / "model.pt"
    for end in (".pt", ".json", ".md"):
        shutil.copy(bundle.folder / "models" / f"model{end}", shipped.with_suffix(end))
    (root / "models" / "trained").mkdir()
    (root / "models" / "trained" / traces).write_text("{}")
    with failing(FileNotFoundError, r"trained/model\.pt\. Train first.*\.\./model\.pt \(come with the bundle"):
        infer(root, images(bundle.name), tmp_path / "out")
    infer(root, images(bundle.name), tmp_path / "out", ckpt_path=str(shipped))
    assert (tmp_path / "out" / "predictions.csv").is_file()


def test_images_of_other_dimensions_than_the_weights_name_both(tmp_path, images):
    root = copy_bundle(VOLUMES, tmp_path)
    shutil.copy(root / "models" / "model.pt", root / "models" / "earlier.pt")
    said = r"has 2 dimensions, the weights are for images of 3\. The weights are .*3D.*Others there: earlier\.pt"
    with failing(ImageReadError, said):
        infer(root, images("clinical_fmamba"), tmp_path / "out")


def test_the_earlier_weights_are_kept_and_the_next_training_says_what_it_replaced(tmp_path, train_tiny, caplog):
    """A run on other data is published over the demo's, with a warning; both pairs are whole."""
    bundle = BUNDLES[0]
    models = shutil.copytree(train_tiny(bundle) / "models", tmp_path / "models")
    with caplog.at_level("INFO"):
        bundle.run(("train.yaml",), tmp_path, **bundle.tiny, data_name="another set", seed=3, run_name="second")
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "something else" in r.getMessage()]
    assert len(said) == 1 and "trained on demo, now another set" in said[0]
    pairs = {path: json.loads(path.with_suffix(".json").read_text()) for path in models.glob("*.pt")}
    assert sorted(settings["trained_on"] for settings in pairs.values()) == ["another set", "demo"]
    for path, settings in pairs.items():
        assert settings["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.integration
@pytest.mark.parametrize(
    "bundle", first_of(BUNDLES[:2]), ids=str
)  # all bundles publish by the same lines (test_shared_parts)
def test_two_trainings_at_once_keep_both_models_apart(bundle, tmp_path):
    """Other seeds and names of the data: each file lies with its own settings."""
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", *bundle.config("train.yaml")]
    with ExitStack() as stack:
        running = []
        for number in (1, 2):
            options = {**bundle.tiny, "seed": number, "data_name": f"set {number}", "max_epochs": 1 + number}
            line = [*words, *command_line(options, tmp_path), "--run_name", f"run{number}"]
            log = stack.enter_context(open(tmp_path / f"{number}.log", "w"))
            running.append(subprocess.Popen(line, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT))
        codes = [process.wait(timeout=600) for process in running]
    assert codes == [0, 0], [(tmp_path / f"{number}.log").read_text()[-3000:] for number in (1, 2)]
    pairs = {path: json.loads(path.with_suffix(".json").read_text()) for path in (tmp_path / "models").glob("*.pt")}
    assert sorted(settings["trained_on"] for settings in pairs.values()) == ["set 1", "set 2"]
    for path, settings in pairs.items():
        run = tmp_path / f"run{settings['trained_on'][-1]}"
        assert path.read_bytes() == (run / "model.pt").read_bytes()
        assert settings["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
