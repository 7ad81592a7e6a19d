"""Archives of all bundles as MONAI and the Model Zoo take them, from a local path and without a network.

The Model Zoo's own verifier runs where the environment variable ``MEDSSM_MODEL_ZOO`` names a checkout of
Project-MONAI/model-zoo.
"""

from __future__ import annotations

import copy
import csv
import os
import shutil
import subprocess
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import verify_metadata, verify_net_in_out
from PIL import Image

import medssm_monai
from medssm_monai.bundle import copy_bundle, pack_bundle, verify_archive

from ..bundles.bundle_runs import BUNDLES, CLASSIFIERS, MAMBA_MIS, every_bundle, program

pytestmark = pytest.mark.integration

SCHEMA = Path(__file__).parents[1] / "bundles" / "meta_schema_20240725.json"
VERSION = "0.1.0"
STEPS = ("directory is", "version and changelog are", "metadata format is", "properties are", "data shape is")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The folder in which the archives lie, and nothing else."""
    folder = tmp_path_factory.mktemp("archives")
    for bundle in BUNDLES:
        pack_bundle(bundle.folder, folder)
    return folder


@pytest.fixture(scope="module")
def unpacked(archives, tmp_path_factory):
    """The folder in which the archives are unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    for bundle in BUNDLES:
        url = (archives / f"{bundle.name}_v{VERSION}.zip").as_uri()
        monai.bundle.download(bundle.name, bundle_dir=folder, url=url, progress=False)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def fetch(url, *args, **kwargs):
        pytest.fail(f"{url} was to be fetched")

    monkeypatch.setattr("monai.apps.utils._download_with_progress", fetch)


def predictor(bundle):
    """That of the repository, with the weights that come with it."""
    return medssm_monai.load(bundle.folder, ckpt_path=bundle.folder / "models" / "model.pt", device="cpu")


def write_images(bundle, folder):
    """A dark disc on skin, once or as both sources of a fusion; the source that a predictor and a config take."""
    rows, columns = np.mgrid[:90, :120]
    for number, source in enumerate(bundle.sources):
        disc = (rows - 40) ** 2 + (columns - 60 - 10 * number) ** 2 < 25**2
        noise = np.random.default_rng(number).integers(-8, 9, (90, 120, 3))
        pixels = np.where(disc[..., None], [90, 50, 40], [220, 180, 160]) + noise
        (folder / source).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels.astype(np.uint8))
        (image.convert("L") if source else image).save(folder / source / "x.png")
    return [folder / source / "x.png" for source in bundle.sources]


@every_bundle
def test_monai_loads_weights_from_the_folder_of_the_archive(bundle, archives, tmp_path, no_network):
    for path in archives.glob(f"{bundle.name}_v*"):
        shutil.copy(path, tmp_path)
    expected = predictor(bundle).network
    network = copy.deepcopy(expected)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    options = {"version": VERSION, "bundle_dir": tmp_path, "source": "github", "device": "cpu", "progress": False}
    loaded = monai.bundle.load(bundle.name, model=network, **options)
    for name, value in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [bundle.name]


@every_bundle
def test_monai_runs_the_unpacked_bundle_as_our_predictor_predicts(bundle, unpacked, tmp_path, no_network):
    files = write_images(bundle, tmp_path / "in")
    config, out = unpacked / bundle.name / "configs" / "inference.yaml", tmp_path / "out"
    monai.bundle.run(
        config_file=str(config), dataset_dir=str(tmp_path / "in"), output_dir=f"$'{out.as_posix()}'", device="cpu"
    )
    prediction = predictor(bundle).predict(files[0] if len(files) == 1 else tuple(files))
    if bundle in CLASSIFIERS:
        (row,) = csv.DictReader((out / "predictions.csv").open())
        assert row["class"] == prediction.class_name
        for name, value in prediction.by_class().items():
            assert float(row[f"probability_{name}"]) == pytest.approx(value, abs=1e-6)
        return
    (written,) = out.rglob("*.png")
    ours = prediction.save(tmp_path / "ours.png")
    pixels = np.asarray(Image.open(written))
    assert pixels.shape[:2] == (90, 120) and pixels.std() > 0
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(ours)))


@every_bundle
def test_monai_verifies_the_unpacked_bundle(bundle, unpacked):
    root = unpacked / bundle.name
    metadata = str(root / "configs" / "metadata.json")
    verify_metadata(meta_file=metadata, filepath=str(SCHEMA), create_dir=False)
    for n in (1, 2):
        config = str(root / "configs" / "inference.yaml")
        verify_net_in_out("network_def", metadata, config, device="cpu", n=n, bundle_root=str(root))


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no program sha256sum")
def test_sha256sum_reads_both_lists(archives, unpacked):
    for bundle in BUNDLES:
        places = {archives: f"{bundle.name}_v{VERSION}.zip.sha256", unpacked / bundle.name: "checksums.sha256"}
        for place, file in places.items():
            subprocess.run(["sha256sum", "--check", "--strict", "--quiet", file], cwd=place, check=True)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """The Model Zoo's checks, with our bundles among those that are traced, where contributors write them."""
    named = os.environ.get("MEDSSM_MODEL_ZOO")
    if not named:
        pytest.skip("MEDSSM_MODEL_ZOO is not set; it names a checkout of Project-MONAI/model-zoo")
    if not (Path(named) / "ci" / "verify_bundle.py").is_file():
        pytest.skip(f"no ci/verify_bundle.py in {named}, which MEDSSM_MODEL_ZOO names")
    folder = tmp_path_factory.mktemp("zoo")
    shutil.copytree(Path(named) / "ci", folder / "ci")
    (folder / "models").mkdir()
    shutil.copy(Path(named) / "models" / "model_info.json", folder / "models")
    with open(folder / "ci" / "bundle_custom_data.py", "a") as file:
        file.write(f"\nexclude_verify_torchscript_list += {[bundle.name for bundle in BUNDLES]}\n")
    return folder


@every_bundle
def test_the_zoo_s_own_verifier_passes(bundle, archives, zoo):
    shutil.unpack_archive(archives / f"{bundle.name}_v{VERSION}.zip", zoo / "models")
    (zoo / "models" / bundle.name / "eval").mkdir()
    shutil.copy(SCHEMA, zoo / "models" / bundle.name / "eval" / "schema.json")  # which the zoo's CI fetches before
    done = program(["ci/verify_bundle.py", "-b", bundle.name], zoo)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [step for step in STEPS if f"{step} verified correctly." not in done.stdout] == []
    (zoo / "models" / bundle.name / "models" / "model.pt").unlink()
    failed = program(["ci/verify_bundle.py", "-b", bundle.name, "-m", "min"], zoo)
    assert failed.returncode == 1 and "models/model.pt is not existing" in failed.stderr


def test_a_copy_is_trained_where_it_lies_and_its_weights_are_packed(tmp_path):
    copied = copy_bundle(MAMBA_MIS.folder, tmp_path / "copies")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(copied / "configs" / "train.yaml")]
    options = [word for key, value in MAMBA_MIS.tiny.items() for word in (f"--{key}", str(value))]
    done = program([*words, *options], elsewhere)
    assert done.returncode == 0, done.stderr[-3000:]
    own = copied / "models" / "trained" / "model.pt"
    assert own.is_file() and (copied / "eval").is_dir() and list(elsewhere.iterdir()) == []

    words = ["-m", "medssm_monai.apps.bundles", "pack", str(copied), str(tmp_path / "out"), "--ckpt_path", str(own)]
    done = program(words, elsewhere)
    assert done.returncode == 0 and "has no model card model.md" in done.stderr, done.stderr
    archive = tmp_path / "out" / f"mamba_mis_v{VERSION}.zip"
    assert not [name for name in verify_archive(archive) if name.startswith(("eval", "models/trained"))]
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    loaded = medssm_monai.load(tmp_path / "unpacked" / "mamba_mis", device="cpu").network
    trained = torch.load(own, weights_only=True)
    assert all(torch.equal(loaded.state_dict()[name], trained[name]) for name in trained)
