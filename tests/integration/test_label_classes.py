"""MONAI Label's real server with networks of several classes: pictures, volumes, and regions of two channels.

The networks are small and trained for one epoch: what is tested is everything around a network, and no figure here says
anything about accuracy.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import medssm_monai
from medssm_monai.data import LabelSet

from ..bundle.tiny_bundles import MAMBA_MIS as TINY
from ..bundle.tiny_bundles import copy_bundle
from ..bundles.bundle_runs import MAMBA_MIS
from ..bundles.class_sets import AFFINE, FOUR, REGIONS, ClassSet
from ..thorough import first_of
from .label_server import LabelServer, label_python, parts

pytestmark = pytest.mark.integration

CASES = {
    "organs": ClassSet("four classes 3D", 3, FOUR),
    "regions": ClassSet("regions 3D", 3, REGIONS, channels=2),
    "pictures": ClassSet("four classes 2D", 2, FOUR),
}
WRITTEN = {  # by hand; of regions the value that no smaller one has
    "pictures": {"liver": 1, "spleen": 2, "kidney": 3, "tumor": 4},
    "organs": {"liver": 1, "spleen": 2, "kidney": 3, "tumor": 4},
    "regions": {"whole": 1, "core": 2, "enhancing": 3},
}
COUNT = 4  # images of each, with their labels
COS, SIN = np.cos(0.3), np.sin(0.3)
STRAIGHT = np.array(  # turned, with axes at right angles, as NRRD files have them
    [[-1.5 * COS, SIN, 0, 12], [1.5 * SIN, COS, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1]]
)
every_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """Folder of the served bundles: the configs, and weights of one epoch."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, case in CASES.items():
        out = tmp_path_factory.mktemp(name)
        settings = case.tiny | {"ema_decay": 0, "learning_rate": 0.01, "warmup_epochs": 0}
        MAMBA_MIS.run(case.overlays, out, dataset_dir=str(case.write(out / "data")), run_name="first", **settings)
        models = copy_bundle(TINY, folder, weights=False, name=name) / "models"
        for file in ("model.pt", "model.json"):
            (models / file).write_bytes((out / "models" / file).read_bytes())
    return folder


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Pictures, volumes as NIfTI and one as NRRD, and volumes of two channel files, beside each other."""
    folder = tmp_path_factory.mktemp("studies")
    for name, case in CASES.items():
        for number in range(COUNT):
            image, _ = case.sample(number)
            files = case.write_image(folder, f"{name}_{number}", image)
            if case.channels == 1:  # its id is the name of the case
                files[0].rename(folder / f"{name}_{number}{case.ending}")
            for file in files if name == "regions" else ():
                nib.save(nib.Nifti1Image(np.asarray(nib.load(file).dataobj), STRAIGHT), file)
    values = CASES["organs"].sample(7)[0][0].astype(np.int16)
    itk.imwrite(_image(values, STRAIGHT), str(folder / "organs_nrrd.nrrd"))
    return folder


def _image(values: np.ndarray, affine: np.ndarray) -> itk.Image:
    """An image of ITK, whose world is that of NIfTI with the first two axes turned round."""
    image = itk.image_from_array(np.ascontiguousarray(values.T))
    world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(world[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(world[:3, :3] / spacing))
    return image


@pytest.fixture(scope="module")
def server(bundles, studies, tmp_path_factory):
    with LabelServer(label_python(), studies, bundles, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


def first_id(name: str, number: int = 0) -> str:
    """Id of a case's first file."""
    return f"{name}_{number}" + ("_0000" if CASES[name].channels > 1 else "")


def files_of(studies: Path, name: str, number: int = 0) -> str | tuple[str, ...]:
    """What the predictor takes."""
    case = CASES[name]
    if case.channels == 1:
        return str(studies / f"{name}_{number}{case.ending}")
    return tuple(str(studies / f"{name}_{number}_{channel:04d}{case.ending}") for channel in range(case.channels))


def expected(bundles: Path, studies: Path, name: str):
    weights = sorted((bundles / name / "models").rglob("model.pt"), key=lambda path: len(path.parts))[-1]
    return medssm_monai.load(bundles / name, ckpt_path=weights, device="cpu").predict(files_of(studies, name))


def read(content: bytes, name: str, folder: Path) -> np.ndarray:
    """Values of a result."""
    if CASES[name].spatial_dims == 2:
        with Image.open(io.BytesIO(content)) as mask:
            assert mask.mode == "P"
            return np.asarray(mask)
    (folder / "result.nii.gz").write_bytes(content)
    volume = nib.load(folder / "result.nii.gz")
    assert volume.get_data_dtype() == np.uint8
    np.testing.assert_allclose(volume.affine, STRAIGHT if name == "regions" else AFFINE, atol=1e-5)
    return np.asarray(volume.dataobj)


def test_info_lists_every_class_with_its_number_and_the_dimension(server):
    models = server.info()["models"]
    for name, case in CASES.items():
        assert models[name]["labels"] == WRITTEN[name]
        assert models[name]["dimension"] == case.spatial_dims
        assert models[name]["type"] == "segmentation"


@every_case
def test_label_maps_are_those_of_python_in_the_geometry_of_the_image(server, bundles, studies, tmp_path, name):
    answer = server.infer(name, first_id(name))
    assert answer.status_code == 200, answer.text
    found = parts(answer)
    values, wanted = read(found["image"], name, tmp_path), expected(bundles, studies, name)
    assert values.shape == CASES[name].size
    assert len(np.unique(values)) >= 3  # of an untrained network, most classes win somewhere
    assert (values == wanted.label_map).mean() > 0.999
    params = json.loads(found["params"])
    assert params["label_names"] == WRITTEN[name]
    assert params["confidences"] == pytest.approx(wanted.confidences, abs=1e-3)
    shares = {one: float(wanted.class_mask(one).mean()) for one in WRITTEN[name]}
    assert params["shares"] == pytest.approx(shares, abs=1e-3)


def test_an_indexed_picture_has_the_colors_of_the_classes(server):
    answer = server.infer("pictures", "pictures_0", output="image")
    with Image.open(io.BytesIO(answer.content)) as mask:
        palette = np.asarray(mask.getpalette()).reshape(-1, 3)
    colors = LabelSet.of(FOUR).colors
    assert [tuple(palette[value]) for value in range(1, 5)] == list(colors)


def test_a_volume_in_nrrd_comes_back_where_it_lay(server, bundles, studies, tmp_path):
    """3D Slicer asks for NRRD; ITK, which knows nothing of this package, reads both files."""
    answer = server.infer(
        "organs", "organs_nrrd", output="image", result_extension=".nrrd", result_dtype="uint8", threshold=0.5
    )
    assert answer.status_code == 200, answer.text
    (tmp_path / "result.nrrd").write_bytes(answer.content)
    result, source = itk.imread(str(tmp_path / "result.nrrd")), itk.imread(str(studies / "organs_nrrd.nrrd"))
    np.testing.assert_allclose(result.GetOrigin(), source.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(result.GetSpacing(), source.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(
        itk.array_from_matrix(result.GetDirection()), itk.array_from_matrix(source.GetDirection()), atol=1e-5
    )
    itk.imwrite(source, str(tmp_path / "same.nii.gz"))
    np.testing.assert_allclose(nib.load(tmp_path / "same.nii.gz").affine, STRAIGHT, atol=1e-5)
    wanted = medssm_monai.load(bundles / "organs", device="cpu").predict(str(tmp_path / "same.nii.gz")).label_map
    values = itk.array_from_image(result).T
    assert values.dtype == np.uint8 and len(np.unique(wanted)) >= 3
    assert (values == wanted).mean() > 0.999


def test_a_picture_in_nrrd_holds_the_numbers_of_the_classes(server, tmp_path):
    mask = read(server.infer("pictures", "pictures_0", output="image").content, "pictures", tmp_path)
    answer = server.infer("pictures", "pictures_0", output="image", result_extension=".nrrd", result_dtype="uint8")
    (tmp_path / "result.nrrd").write_bytes(answer.content)
    np.testing.assert_array_equal(itk.array_from_image(itk.imread(str(tmp_path / "result.nrrd"))), mask[None])


def test_requests_that_do_not_fit_say_why(server, studies):
    cases = [
        (server.infer("organs", "pictures_0"), "the image has 2 dimensions, the weights are for images of 3"),
        (server.infer("pictures", "organs_0"), "expected a single slice"),
        (server.infer("regions", "regions_0_0001"), "ask for the first, regions_0_0000"),
        (server.infer("regions", "organs_0"), "1 channel"),
        (server.infer("organs", "organs_0", result_extension=".png"), "is for masks of pictures"),
        (server.infer("organs", "organs_0", result_extension=".nrrd"), "ask for .nii.gz"),  # sheared axes
    ]
    for answer, message in cases:
        assert (answer.status_code, message in answer.text) == (400, True), f"{answer.status_code}: {answer.text}"
    assert server.uploads() == []


def _label(case: ClassSet, number: int, folder: Path) -> tuple[str, bytes]:
    """The file that a client saves: an indexed picture, NIfTI and NRRD in turn."""
    mask, path = case.sample(number)[1], folder / f"label{case.ending}"
    if case.spatial_dims == 2:
        picture = Image.fromarray(mask, "P")
        picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200, 90, 90, 90])
        picture.save(path)
    elif case.channels == 1:
        nib.save(nib.Nifti1Image(mask, AFFINE), path)
    else:
        path = folder / "label.seg.nrrd"
        itk.imwrite(_image(mask, STRAIGHT), str(path), compression=True)
    return path.name, path.read_bytes()


@pytest.mark.parametrize("name", first_of(CASES))
def test_training_on_saved_label_maps_changes_what_the_server_answers(server, bundles, studies, tmp_path, name):
    """The labels of the other models' images stay: a training takes those that fit its own network."""
    case = CASES[name]
    for number in range(COUNT):
        server.save_label(first_id(name, number), *_label(case, number, tmp_path))
    before = read(server.infer(name, first_id(name), output="image").content, name, tmp_path)
    overrides = {"learning_rate": 0.01, "ema_decay": 0, "warmup_epochs": 0, "val_interval": 1}
    state = server.run_task("train", name, max_epochs=1, batch_size=2, overrides=overrides)
    assert state["status"] == "DONE", "\n".join(state["details"])
    (split,) = (studies / ".medssm_label" / "trainings" / name).glob("*/split.json")
    used = {one for part in json.loads(split.read_text()).values() for one in part}
    assert used == {f"{name}_{number}" for number in range(COUNT)}
    served = json.loads((bundles / name / "models" / "model.json").read_text())
    trained = json.loads((bundles / name / "models" / "trained" / "model.json").read_text())
    same = ("labels", "spatial_dims", "channel_names", "in_channels", "image_size", "network_args", "variant")
    assert {key: trained[key] for key in same} == {key: served[key] for key in same}
    weights = torch.load(bundles / name / "models" / "trained" / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    after = read(server.infer(name, first_id(name), output="image").content, name, tmp_path)
    assert after.shape == before.shape and not np.array_equal(after, before)
    assert (after == expected(bundles, studies, name).label_map).mean() > 0.999
    model = server.info()["models"][name]
    assert model["labels"] == WRITTEN[name]
    assert model["config"]["weights"].startswith("models/trained/model.pt (your own training")


def test_labels_with_numbers_that_no_class_has_are_named(server, tmp_path):
    case = CASES["pictures"]
    for number in range(1, COUNT):
        server.save_label(first_id("pictures", number), *_label(case, number, tmp_path))
    mask = np.where(case.sample(0)[1] == 2, 7, case.sample(0)[1]).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "label.png")
    server.save_label("pictures_0", "label.png", (tmp_path / "label.png").read_bytes())
    answer = server.post("/train/pictures", {"max_epochs": 1}, run_sync=True)
    assert answer.status_code == 400
    assert "label of pictures_0: values 7" in answer.text and "save them with the numbers" in answer.text
