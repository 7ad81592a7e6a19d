"""The MONAI Label app in MONAI Label's real server, on real images, over the loopback interface.

The networks are small, seeded and not trained (``tiny_bundles.py``); MedConvMamba has the weights that come with its
bundle. What is tested is everything around a network; no figure here says anything about accuracy.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import medssm_monai

from ..bundle.tiny_bundles import BUNDLES, CLINICAL_FMAMBA, MAMBA_MIS, MEDSPECTRALNET, VOLUMES, copy_bundle
from .label_server import LabelServer, label_python, parts

pytestmark = [pytest.mark.integration, pytest.mark.realdata]

FRAMES = ("10", "90", "150", "210", "300", "350")  # colonoscopy, 384 x 288
XRAYS = {"COVID": 2, "Normal": 2}
NO_WEIGHTS, PICKLED, DAMAGED = "mamba_mis_without_weights", "mamba_mis_pickled", "mamba_mis_damaged"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """Folder of the served bundles, some of them spoilt."""
    folder = tmp_path_factory.mktemp("bundles")
    for tiny in (MAMBA_MIS, MEDSPECTRALNET, CLINICAL_FMAMBA):
        copy_bundle(tiny, folder)
    copy_bundle(VOLUMES, folder, name="clinical_fmamba_3d")
    shutil.copytree(BUNDLES / "medconvmamba" / "configs", folder / "medconvmamba" / "configs")
    shutil.copytree(
        BUNDLES / "medconvmamba" / "models",
        folder / "medconvmamba" / "models",
        ignore=lambda _, names: [name for name in names if not name.startswith("model.")],
    )
    copy_bundle(MAMBA_MIS, folder, weights=False, name=NO_WEIGHTS)
    torch.save({"network": torch.nn.Linear(2, 2)}, copy_bundle(MAMBA_MIS, folder, name=PICKLED) / "models/model.pt")
    (copy_bundle(MAMBA_MIS, folder, name=DAMAGED) / "models/model.pt").write_bytes(b"no checkpoint")
    return folder


@pytest.fixture(scope="module")
def studies(real_data, tmp_path_factory) -> Path:
    """Real images: frames, X-rays, a DICOM slice, pairs of slices, and cut-outs of two pairs of volumes."""
    folder = tmp_path_factory.mktemp("studies")
    for name in FRAMES:
        shutil.copy(real_data / "polyp_cvc_clinicdb" / "images" / f"{name}.png", folder / f"frame_{name}.png")
    for kind, count in XRAYS.items():
        for number, path in enumerate(sorted((real_data / "covid_xray" / kind).iterdir())[:count]):
            shutil.copy(path, folder / f"xray_{kind}_{number}{path.suffix}")
    shutil.copy(real_data / "dicom_t1_series" / "N2D_0190.dcm", folder / "slice.dcm")
    pairs = real_data / "harvard_mri_ct" / "test"
    for path in sorted((pairs / "MRI").iterdir())[:2]:
        shutil.copy(path, folder / f"brain{path.stem}_a.png")
        shutil.copy(pairs / "CT" / path.name, folder / f"brain{path.stem}_b.png")
    for subject in ("BraTS-GLI-00001-000", "TCGA-FG-6692"):
        for ending, source in (("a", "t1ce"), ("b", "flair")):
            volume = nib.load(real_data / "brats_like" / subject / f"{subject}_{source}.nii.gz")
            nib.save(volume.slicer[90:122, 100:130, 60:84], folder / f"{subject}_{ending}.nii.gz")
    flair = nib.load(real_data / "brats_like" / "TCGA-FG-6692" / "TCGA-FG-6692_flair.nii.gz")
    nib.save(flair.slicer[:, :, 70:71], folder / "nifti_slice.nii.gz")
    return folder


@pytest.fixture(scope="module")
def server(bundles, studies, tmp_path_factory):
    with LabelServer(label_python(), studies, bundles, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running
    assert not any(running.temporary.glob("medssm_label_uploads_*"))  # the server has ended, and its uploads with it


def png(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)))


def test_info_names_models_labels_trainers_and_strategies(server, studies):
    info = server.info()
    models = info["models"]
    assert models["mamba_mis"]["type"] == "segmentation"
    assert models["mamba_mis"]["labels"] == {"lesion": 1}
    assert models["medconvmamba"]["type"] == "classification"
    assert models["medconvmamba"]["labels"] == {"normal": 0, "pneumonia": 1}
    said = models["medconvmamba"]["config"]["weights"]
    assert said.startswith("models/model.pt (come with the bundle, trained on PneumoniaMNIST; 2 classes")
    assert models["clinical_fmamba_3d"]["dimension"] == 3
    assert models[NO_WEIGHTS]["config"]["weights"] == "none: train first"
    assert set(info["trainers"]) == set(models)
    assert set(info["strategies"]) == {"random", *info["scoring"]}
    images = [path for path in studies.iterdir() if path.suffix in (".png", ".gz", ".dcm")]
    assert info["datastore"]["total"] == len(images)


def test_masks_of_pictures_have_their_size_and_are_those_of_python(server, bundles, studies):
    answer = server.infer("mamba_mis", f"frame_{FRAMES[0]}")
    assert answer.status_code == 200, answer.text
    found = parts(answer)
    mask = png(found["image"])
    assert (mask.shape, mask.dtype) == ((288, 384), np.uint8)
    assert set(np.unique(mask)) == {0, 255}
    expected = medssm_monai.load(bundles / "mamba_mis", device="cpu").predict(studies / f"frame_{FRAMES[0]}.png")
    assert (mask // 255 == expected.mask).mean() > 0.999
    params = json.loads(found["params"])
    assert params["label_names"] == {"lesion": 1}
    assert params["confidence"] == pytest.approx(expected.confidence, abs=1e-4)


@pytest.mark.parametrize("image", ["nifti_slice.nii.gz", "slice.dcm"])
def test_masks_of_slices_have_their_shape_and_affine(server, studies, tmp_path, image):
    answer = server.infer("mamba_mis", image.split(".")[0], output="image")
    assert answer.status_code == 200, answer.text
    (tmp_path / "mask.nii.gz").write_bytes(answer.content)
    mask = nib.load(tmp_path / "mask.nii.gz")
    if image.endswith(".dcm"):
        assert sorted(mask.shape) == [1, 274, 384]
        assert not np.allclose(mask.affine, np.eye(4))
    else:
        source = nib.load(studies / image)
        assert mask.shape == source.shape
        np.testing.assert_allclose(mask.affine, source.affine)
    assert set(np.unique(mask.get_fdata())) <= {0, 1}


@pytest.mark.parametrize("model", ["medconvmamba", "medspectralnet"])
def test_classes_come_with_calibrated_probabilities(server, bundles, studies, model):
    answer = server.infer(model, "xray_Normal_0")
    assert answer.status_code == 200, answer.text
    expected = medssm_monai.load(bundles / model, device="cpu").predict(studies / "xray_Normal_0.png")
    scores = {entry["label"]: entry["score"] for entry in answer.json()["prediction"]}
    assert scores == pytest.approx(expected.by_class(), abs=1e-4)
    assert answer.json()["class"] == expected.class_name


def test_pairs_are_fused_by_name_by_params_and_as_volumes(server, studies, tmp_path):
    first = min(path.stem for path in studies.glob("brain*_a.png"))
    by_name = server.infer("clinical_fmamba", first, output="image")
    by_params = server.infer("clinical_fmamba", first, output="image", image_b=first[:-1] + "b")
    uploaded = server.infer("clinical_fmamba", output="image", file=studies / f"{first}.png", image_b=first[:-1] + "b")
    assert [answer.status_code for answer in (by_name, by_params, uploaded)] == [200] * 3
    assert png(by_name.content).shape == (256, 256)
    assert by_name.content == by_params.content == uploaded.content
    answer = server.infer("clinical_fmamba_3d", "TCGA-FG-6692_a", output="image")
    assert answer.status_code == 200, answer.text
    (tmp_path / "fused.nii.gz").write_bytes(answer.content)
    fused, source = nib.load(tmp_path / "fused.nii.gz"), nib.load(studies / "TCGA-FG-6692_a.nii.gz")
    assert fused.shape == source.shape == (32, 30, 24)
    np.testing.assert_allclose(fused.affine, source.affine)


def test_sixteen_requests_at_once_are_all_answered_right(server, studies):
    brain = sorted(path.stem for path in studies.glob("brain*.png"))
    wanted = [("mamba_mis", name) for name in ("nifti_slice", *(f"frame_{name}" for name in FRAMES), *brain)]
    wanted = (wanted * 2)[:16]
    single = {request: server.infer(*request, output="image").content for request in set(wanted)}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda request: server.infer(*request, output="image"), wanted))
    assert [answer.status_code for answer in answers] == [200] * 16
    for (_, name), answer in zip(wanted, answers, strict=True):
        if name == "nifti_slice":
            mask, alone = (  # gzip keeps the time of day
                nib.Nifti1Image.from_bytes(gzip.decompress(content))
                for content in (answer.content, single["mamba_mis", name])
            )
            assert mask.shape == alone.shape == nib.load(studies / "nifti_slice.nii.gz").shape
            np.testing.assert_allclose(mask.affine, nib.load(studies / "nifti_slice.nii.gz").affine)
            np.testing.assert_array_equal(mask.dataobj, alone.dataobj)
        else:
            assert answer.content == single["mamba_mis", name]
            assert png(answer.content).shape == Image.open(studies / f"{name}.png").size[::-1]


def _broken_picture(folder: Path) -> Path:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder / "broken.png"


def test_errors_say_what_is_wrong_and_the_server_goes_on(server, studies, tmp_path):
    frame, brain = f"frame_{FRAMES[0]}", min(path.stem for path in studies.glob("brain*_a.png"))
    outside = shutil.copy(studies / f"{frame}.png", tmp_path / "outside.png")
    cases = [
        (server.infer("nothing", frame), 404, "there is no 'nothing' here; there are clinical_fmamba"),
        (server.infer("mamba_mis", "nobody"), 404, "no such image"),
        (server.infer(NO_WEIGHTS, frame), 503, "trained weights of mamba_mis_without_weights not found"),
        (server.infer(PICKLED, frame), 503, "model.pt: no weights that can be loaded"),
        (server.infer(DAMAGED, frame), 503, "model.pt: no weights that can be loaded"),
        (server.infer("mamba_mis", "TCGA-FG-6692_a"), 400, "expected a single slice"),
        (server.infer("clinical_fmamba_3d", brain), 400, "the weights are for images of 3"),
        (server.infer("clinical_fmamba", frame, image_b=brain), 400, "3 channel(s)"),
        (server.infer("clinical_fmamba", frame), 400, "does not end in _a"),
        (server.infer("clinical_fmamba", brain, image_b="nobody"), 404, "image_b: no such image"),
        (server.infer("mamba_mis", str(outside)), 400, "image must be a name"),  # not in the studies folder
        (server.infer("mamba_mis", frame, image=str(outside)), 400, "image must be a name"),
        (server.infer("mamba_mis", frame, save_label=True, label_tag="../../elsewhere"), 400, "without slashes"),
        (server.infer("mamba_mis", file=_broken_picture(tmp_path)), 400, "not an image of a known format"),
        (server.post("/train/nothing"), 404, "there is no 'nothing' here"),
        (server.post("/train/mamba_mis", run_sync=True), 400, "0 image(s) with a saved mask; training needs two"),
        (server.post("/train/mamba_mis", {"overrides": {"seed": "$exit(3)"}}, run_sync=True), 400, "only numbers"),
        (server.post("/train/mamba_mis", {"overrides": {"ckpt_dir": "a"}}, run_sync=True), 400, "cannot be set"),
        (server.post("/scoring/nothing", run_sync=True), 404, "there is no 'nothing' here"),
        (server.post("/activelearning/nothing"), 404, "there is no 'nothing' here"),
    ]
    for answer, status, message in cases:
        assert (answer.status_code, message in answer.text) == (status, True), f"{answer.status_code}: {answer.text}"
    assert server.infer("mamba_mis", frame).status_code == 200
    assert server.process.poll() is None
    assert server.uploads() == []  # neither the broken picture nor a good one stays


CLIENTS = (
    "lib/python*/site-packages/monailabel/client/client.py",
    "monailabel/plugins/slicer/**/MONAILabelLib/client.py",
)


@pytest.fixture
def _image_of_the_client(server, studies):
    """The saved label and image go with the test: those that come after train on labels of their own."""
    yield
    removed = server.ask("DELETE", "/datastore/image", params={"id": "from the client"})
    assert removed.status_code == 200
    assert not (studies / "labels" / "final" / "from the client.nrrd").exists()


@pytest.mark.usefixtures("_image_of_the_client")
@pytest.mark.parametrize("pattern", CLIENTS, ids=["MONAI Label", "3D Slicer"])
def test_clients_do_what_they_did_with_the_token(server, tmp_path, pattern):
    python = label_python()
    (client,) = python.parents[1].glob(pattern)
    label = tmp_path / "label.nrrd"
    itk.imwrite(itk.image_from_array(np.ones((1, 48, 64), np.uint8)), str(label))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    script = Path(__file__).with_name("label_client.py")
    command = [python, script, client, server.url, server.token, tmp_path / "image.png", label]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    sample, models = found.pop("sample"), found.pop("models")
    assert sample in server.get("/datastore/", output="all")["objects"]
    assert models["mamba_mis"] == "segmentation"
    assert found.pop("training") in ("SUBMITTED", "RUNNING")  # another thread starts it, before or after the answer
    assert found == {
        "without token": 401,
        "wrong password": 401,
        "session": True,
        "mask of a session": [".nrrd", {"lesion": 1}],
        "removed": True,
        "uploaded": "from the client",
        "mask": [".nrrd", {"lesion": 1}],
        "mask of a file": ".nrrd",
        "classes": [None, ["normal", "pneumonia"]],
        "saved": {"image": "from the client", "label": "from the client"},
        "store": ["final"],
        "label": True,
        "running": True,
        "stopped": "STOPPED",
    }
    assert server.uploads() == []


def test_scoring_finds_the_image_to_label_next(server):
    state = server.run_task("scoring", "mamba_mis_epistemic", simulation_size=2)
    assert state["status"] == "DONE", state
    images = server.get("/datastore/", output="all")["objects"]
    scores = {name: entry["image"]["info"].get("mamba_mis_epistemic") for name, entry in images.items()}
    volumes = {name for name in images if name.startswith(("BraTS", "TCGA"))}  # not for a 2D network
    assert {name for name, score in scores.items() if score is None} == volumes
    scored = {name: score for name, score in scores.items() if score is not None}
    assert all(0 < score < 1 for score in scored.values())
    sample = server.post("/activelearning/mamba_mis_epistemic").json()
    assert sample["id"] == max(scored, key=scored.get)


def _masks(server, real_data):
    for name in FRAMES[:4]:
        mask = real_data / "polyp_cvc_clinicdb" / "masks" / f"{name}.png"
        server.save_label(f"frame_{name}", mask.name, mask.read_bytes())


def _classes(server, real_data):
    for kind, count in XRAYS.items():
        label = json.dumps({"class": {"COVID": "pneumonia", "Normal": "normal"}[kind]}).encode()
        for number in range(count):
            server.save_label(f"xray_{kind}_{number}", "label.json", label)


def _result(answer):
    """What an answer predicts, without the time it took."""
    json_only = answer.headers["content-type"].startswith("application/json")
    return answer.json()["prediction"] if json_only else parts(answer)["image"]


@pytest.mark.parametrize(
    ("model", "image", "save_labels"),
    [
        ("mamba_mis", f"frame_{FRAMES[5]}", _masks),
        pytest.param("medconvmamba", "xray_Normal_0", _classes, marks=pytest.mark.thorough),
        pytest.param("clinical_fmamba_3d", "TCGA-FG-6692_a", None, marks=pytest.mark.thorough),
    ],
)
def test_training_on_saved_labels_changes_what_the_server_answers(
    server, real_data, bundles, model, image, save_labels
):
    if save_labels:
        save_labels(server, real_data)
    before = server.infer(model, image)
    settings = json.loads(next((bundles / model / "models").glob("*.json")).read_text())
    state = server.run_task("train", model, max_epochs=1, batch_size=2)
    assert state["status"] == "DONE", "\n".join(state["details"])
    published = bundles / model / "models" / "trained"
    weights = torch.load(published / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    trained = json.loads((published / "model.json").read_text())
    kept = [
        key for key in settings if key not in ("temperature", "weights_sha256", "trained_on", "domain", "conformal")
    ]
    assert {key: trained[key] for key in kept} == {key: settings[key] for key in kept}
    after = server.infer(model, image)
    assert after.status_code == 200
    info = server.info()
    said = info["models"][model]["config"]["weights"]
    assert said.startswith("models/trained/model.pt (your own training, trained on")
    assert info["train_stats"][model]["epoch"] == 1
    assert _result(after) != _result(before)


def test_failed_training_leaves_the_served_weights_alone(server, bundles):
    weights = bundles / "mamba_mis" / "models"
    before = {path: path.read_bytes() for path in weights.rglob("*.pt")}
    state = server.run_task("train", "mamba_mis", max_epochs=1, overrides={"learning_rate": "fast"})
    assert state["status"] == "ERROR"
    assert {path: path.read_bytes() for path in weights.rglob("*.pt")} == before
    assert server.infer("mamba_mis", f"frame_{FRAMES[0]}").status_code == 200
