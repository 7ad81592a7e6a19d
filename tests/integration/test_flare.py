"""Every bundle as a job of NVIDIA FLARE: its simulator, a process for the server and one for each of two sites, two
rounds; the model that comes out; and a site whose process is gone. The means are computed here again from what left the
sites, by a filter that wrote it down."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.apps.federated import take_model, write_job
from medssm_monai.bundle.contents import bundle_files
from medssm_monai.bundle.settings import settings_file
from medssm_monai.data.demo.classification import CLASS_DEMO_NAMES, class_demo_sample
from medssm_monai.data.demo.fusion import FUSION_DEMO_SOURCES, fusion_demo_sample
from medssm_monai.data.demo.segmentation import demo_sample

from ..bundles.bundle_runs import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, Bundle
from ..thorough import first_of
from .environments import REPOSITORY, environment_python, own_variables

pytestmark = pytest.mark.integration

SITES = ("site-1", "site-2")
COUNTS = {"site-1": (8, 4, 4), "site-2": (4, 4, 4)}  # training, validation, test: two steps a round, and one
PARTS = ("training", "validation", "test")
PATIENT = "DOE_JANE"  # in the name of every image
WAIT = 20  # seconds for the other site
WITNESS = "flare_witness.Witness"


@pytest.fixture(scope="module")
def flare() -> Path:
    """Python of FLARE's environment."""
    try:
        return environment_python("federated")
    except AssertionError as error:
        pytest.skip(f"scripts/federated_environment.py cannot make its environment: {error}")


def write_images(bundle: Bundle, folder: Path, counts: tuple[int, ...], first: int) -> None:
    """Images of a site, in a layout that the bundle reads; those of two sites have other numbers."""
    split = {}
    for part, count in zip(PARTS, counts, strict=True):
        split[part] = [f"{PATIENT}_{part}_{index}" for index in range(first, first + count)]
        for index, name in zip(range(first, first + count), split[part], strict=True):
            if bundle is MAMBA_MIS:
                picture, mask = demo_sample(part, index, 32)
                places = {"images": picture, "masks": mask}
            elif bundle is CLINICAL_FMAMBA:
                pair = fusion_demo_sample(part, index, 48)  # its metrics take no smaller ones
                places = {f"{part}/{source}": image for source, image in zip(FUSION_DEMO_SOURCES, pair, strict=True)}
            else:
                picture, label = class_demo_sample(part, index, 32)
                places = {f"{part}/{CLASS_DEMO_NAMES[label]}": picture}
            for place, image in places.items():
                (folder / place).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / place / f"{name}.png")
    if bundle is MAMBA_MIS:
        (folder / "split.json").write_text(json.dumps(split))


@dataclass(frozen=True)
class Federation:
    """A job that the simulator has run."""

    bundle: Bundle
    place: Path
    log: str

    @property
    def global_model(self) -> Path:
        return self.place / "simulator" / "server" / "simulate_job" / "app_server" / "FL_global_model.pt"

    def sent(self, site: str, number: int) -> dict[str, np.ndarray]:
        return dict(np.load(self.place / "sent" / f"{site}_{number}.npz"))

    def message(self, site: str, number: int) -> dict:
        return json.loads((self.place / "sent" / f"{site}_{number}.json").read_text())


def federate(flare: Path, bundle: Bundle, place: Path, ends: dict[str, int] | None = None) -> Federation:
    """Two rounds of a job in FLARE's simulator, run as its users run it."""
    for number, site in enumerate(SITES):
        write_images(bundle, place / "images" / site, COUNTS[site], 100 * number)
    own = ("max_epochs", "datalists#demo_counts")
    job = write_job(
        bundle.folder,
        place / "job",
        wait=WAIT,
        dataset_dir=f"{place}/images/{{SITE_NAME}}",
        example_dir=place / "images" / SITES[0],
        overrides={key: value for key, value in bundle.tiny.items() if key not in own},
    )
    (place / "sent").mkdir()
    config = job / "app" / "config" / "config_fed_client.json"
    content = json.loads(config.read_text())
    witness = {"path": WITNESS, "args": {"folder": str(place / "sent"), "ends": ends or {}}}
    content["task_result_filters"] = [{"tasks": ["train"], "filters": [witness]}]
    config.write_text(json.dumps(content))

    paths = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    environment = own_variables(
        "MEDSSM_BUNDLES", "MLFLOW_TRACKING_URI", PYTHONPATH=paths, MLFLOW_DISABLE_TELEMETRY="true"
    )
    local = place / "simulator" / "local"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(flare), "-m", *words], cwd=place, env=environment, capture_output=True, text=True, timeout=900
        )

    done = run("medssm_monai.apps.federated", "site", str(local))
    assert done.returncode == 0, done.stderr
    resources = json.loads((local / "resources.json").read_text())
    resources["class_allow_list"].append(WITNESS)
    (local / "resources.json").write_text(json.dumps(resources))
    done = run("nvflare.cli", "simulator", str(job), "-w", str(place / "simulator"), "-n", "2", "-t", "2")
    return Federation(bundle, place, done.stdout + done.stderr)


def own_mean(federation: Federation, number: int, sites=SITES) -> dict[str, np.ndarray]:
    """Mean of what the sites sent, in float64, each as often as it has trained steps."""
    steps = [federation.message(site, number)["meta"]["NUM_STEPS_CURRENT_ROUND"] for site in sites]
    sent = [federation.sent(site, number) for site in sites]
    return {
        key: sum(n * weights[key].astype(np.float64) for n, weights in zip(steps, sent, strict=True)) / sum(steps)
        for key in sent[0]
    }


def largest(first: dict, second: dict) -> float:
    assert first.keys() == second.keys()
    return max(float(np.abs(np.asarray(first[key], dtype=np.float64) - np.asarray(second[key])).max()) for key in first)


@pytest.mark.parametrize("bundle", first_of([MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, CLINICAL_FMAMBA]), ids=str)
def test_two_sites_two_rounds_and_the_mean_evaluates_as_ours_does(flare, bundle, tmp_path):
    federation = federate(flare, bundle, tmp_path)
    assert federation.global_model.is_file(), federation.log[-6000:]
    steps = [federation.message(site, 1)["meta"]["NUM_STEPS_CURRENT_ROUND"] for site in SITES]
    assert steps == [2, 1]

    # the sites have trained, each on its own images, from the mean of the round before
    first, second = own_mean(federation, 0), own_mean(federation, 1)
    start = torch.load(tmp_path / "job" / "app" / "start.pt")
    assert largest({key: value.numpy() for key, value in start.items()}, first) > 1e-5
    assert largest(federation.sent("site-1", 1), federation.sent("site-2", 1)) > 1e-5
    saved = torch.load(federation.global_model, weights_only=True)["model"]
    assert largest({key: value.numpy() for key, value in saved.items()}, second) < 1e-6

    # the aggregated model, by the bundle's evaluation, and the same of our own mean
    ours = {key: torch.from_numpy(np.asarray(value)).to(start[key].dtype) for key, value in second.items()}
    taken = take_model(federation.global_model, tmp_path / "job", tmp_path / "taken" / "model.pt")
    torch.save(ours, tmp_path / "ours.pt")
    shutil.copyfile(tmp_path / "job" / "app" / "start.json", tmp_path / "ours.json")
    options = {"dataset_dir": str(tmp_path / "images" / "site-2"), "device": "cpu", "batch_size": 4}
    found = [
        bundle.run(("train.yaml", "evaluate.yaml"), tmp_path / f"evaluated_{path.stem}", ckpt_path=str(path), **options)
        for path in (taken, tmp_path / "ours.pt")
    ]
    figures = [flow.evaluator.state.metrics for flow in found]
    assert figures[0].keys() == figures[1].keys() and any(key.startswith("test_") for key in figures[0])
    assert figures[0] == pytest.approx(figures[1], rel=1e-4, abs=1e-5, nan_ok=True)

    # what left the sites, and what stayed there
    for site in SITES:
        message = federation.message(site, 1)
        assert message["kind"] == "WEIGHTS"
        assert set(message["meta"]) == {"NUM_STEPS_CURRENT_ROUND", "initial_metrics"}
        assert isinstance(message["meta"]["initial_metrics"], float)
        assert set(federation.sent(site, 1)) == set(start)
        assert PATIENT not in json.dumps(message) and str(tmp_path / "images") not in json.dumps(message)
        assert list((tmp_path / "simulator" / site / "runs").glob(f"{site}_*/validation/report.md"))
        assert list((tmp_path / "simulator" / site / "runs").glob(f"evaluate_{site}_*/report.md"))
    server = [path for path in (tmp_path / "simulator" / "server").rglob("*") if path.is_file()]
    assert not [path for path in server if PATIENT.encode() in path.read_bytes()]
    assert not [path for path in server if path.suffix in (".png", ".csv", ".db")]

    # the bundle that was sent is the bundle
    for name, source in bundle_files(bundle.folder).items():
        for copy in [tmp_path / "job" / "app", *(tmp_path / "simulator").glob("site-*/simulate_job/app_site-*")]:
            assert (copy / bundle.name / name).read_bytes() == source.read_bytes(), name


@pytest.mark.thorough
def test_a_site_that_is_gone_does_not_end_the_rounds(flare, tmp_path):
    """The second site is killed in the second round, after its training; the first one goes on alone."""
    federation = federate(flare, MEDCONVMAMBA, tmp_path, ends={"site-2": 1})
    assert re.search("(Subprocess died for|Communication error with) client site-2", federation.log), federation.log[
        -6000:
    ]
    assert [site for site in SITES if (tmp_path / "sent" / f"{site}_1.npz").is_file()] == ["site-1"]
    assert (tmp_path / "sent" / "site-2_0.npz").is_file()
    assert "Round 1 finished." in federation.log and "Finished ScatterAndGather Training." in federation.log
    saved = torch.load(federation.global_model, weights_only=True)["model"]
    assert largest({key: value.numpy() for key, value in saved.items()}, federation.sent("site-1", 1)) < 1e-6
    taken = take_model(federation.global_model, tmp_path / "job", tmp_path / "taken" / "model.pt")
    assert taken.is_file() and settings_file(taken).is_file()
