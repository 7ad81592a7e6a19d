"""Prediction from Python: the same result as the bundle's own inference run, whatever the image comes as."""

from __future__ import annotations

import csv
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

import medssm_monai
from medssm_monai.bundle import network
from medssm_monai.data import ImageReadError

from .tiny_bundles import CLASSES, CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, VOLUMES, copy_bundle

AFFINE = np.array([[-1.5, 0, 0, 40], [0, 1.2, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Bundles with seeded tiny networks, by name; ``volumes`` is the fusion in 3D."""
    folder = tmp_path_factory.mktemp("bundles")
    tinies = (MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, CLINICAL_FMAMBA)
    found = {tiny.bundle: copy_bundle(tiny, folder) for tiny in tinies}
    return {**found, "volumes": copy_bundle(VOLUMES, folder, name="volumes")}


def picture(seed=0, size=(40, 50), channels=3):
    shape = (*size, channels) if channels > 1 else size
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(picture()).save(path)
    return path


def run_bundle(root, out, source):
    """The bundle's own inference run."""
    settings = {"bundle_root": str(root), "output_dir": f"$'{out.as_posix()}'", "dataset_dir": str(source)}
    config = str(root / "configs" / "inference.yaml")
    flow = ConfigWorkflow(config_file=config, workflow_type="infer", logging_file=False, **settings)
    flow.initialize()
    flow.run()


def test_segmentation_is_that_of_the_bundle(bundles, photo, tmp_path):
    prediction = medssm_monai.load(bundles["mamba_mis"], device="cpu").predict(photo)
    assert prediction.probability.shape == (40, 50)
    assert prediction.class_names == ("lesion",)
    run_bundle(bundles["mamba_mis"], tmp_path / "out", photo)
    written = np.array(Image.open(tmp_path / "out" / "photo.png"))
    np.testing.assert_array_equal(prediction.mask * 255, written)
    np.testing.assert_array_equal(np.array(Image.open(prediction.save(tmp_path / "mask.png"))), written)
    assert prediction.save(tmp_path / "masks") == tmp_path / "masks" / "photo.png"
    assert 0 < prediction.mask.mean() < 1
    assert prediction.confidence == pytest.approx(prediction.probability[prediction.mask > 0].mean())


@pytest.mark.parametrize("name", ["medconvmamba", "medspectralnet"])
def test_classification_is_that_of_the_bundle_with_its_temperature(bundles, photo, tmp_path, name):
    prediction = medssm_monai.load(bundles[name], device="cpu").predict(photo)
    run_bundle(bundles[name], tmp_path / "out", photo)
    with open(tmp_path / "out" / "predictions.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert prediction.by_class() == pytest.approx({c: float(row[f"probability_{c}"]) for c in CLASSES}, abs=2e-6)
    assert (prediction.class_name, prediction.source) == (row["class"], str(photo))
    assert prediction.confidence == pytest.approx(float(row["confidence"]), abs=1e-6)
    assert prediction.save(tmp_path / "one.csv").read_text().count("\n") == 2


@pytest.fixture
def pair(tmp_path):
    (tmp_path / "pair").mkdir()
    for number, ending in enumerate("ab"):
        Image.fromarray(picture(number, channels=1)).save(tmp_path / "pair" / f"case_{ending}.png")
    return tmp_path / "pair" / "case_a.png", tmp_path / "pair" / "case_b.png"


def test_fusion_is_that_of_the_bundle(bundles, pair, tmp_path):
    prediction = medssm_monai.load(bundles["clinical_fmamba"], device="cpu").predict(pair)
    run_bundle(bundles["clinical_fmamba"], tmp_path / "out", pair[0].parent)
    written = np.array(Image.open(tmp_path / "out" / "case_fused.png"))
    assert np.abs(prediction.image * 255 - written).max() <= 0.51
    np.testing.assert_array_equal(np.array(Image.open(prediction.save(tmp_path / "fused.png"))), written)


def test_fusion_of_volumes_keeps_the_affine(bundles, tmp_path):
    paths = []
    for number, ending in enumerate("ab"):
        paths.append(tmp_path / f"case_{ending}.nii.gz")
        values = np.random.default_rng(number).random((20, 18, 16), dtype=np.float32)
        nib.save(nib.Nifti1Image(values, AFFINE), paths[-1])
    prediction = medssm_monai.load(bundles["volumes"], device="cpu").predict({"image_a": paths[0], "image_b": paths[1]})
    assert prediction.image.shape == (20, 18, 16)
    np.testing.assert_allclose(prediction.affine, AFFINE)
    for name in ("fused.nii", "fused.nii.gz"):
        saved = nib.load(prediction.save(tmp_path / name))
        np.testing.assert_allclose(saved.affine, AFFINE)
        np.testing.assert_allclose(saved.get_fdata(), prediction.image, atol=1e-6)


def test_nifti_slice_comes_back_in_its_geometry(bundles, tmp_path):
    values = picture(channels=1).T[..., None].astype(np.float32)  # (x, y, 1)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "slice.nii.gz")
    prediction = medssm_monai.load(bundles["mamba_mis"], device="cpu").predict(tmp_path / "slice.nii.gz")
    assert prediction.mask.shape == (40, 50)
    saved = nib.load(prediction.save(tmp_path / "mask.nii.gz"))
    assert saved.shape == values.shape
    np.testing.assert_allclose(saved.affine, AFFINE)
    np.testing.assert_array_equal(saved.get_fdata()[..., 0].T, prediction.mask)


def test_arrays_and_lists_give_what_files_give(bundles, photo):
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu")
    pixels = picture()
    tensor = torch.from_numpy(pixels).movedim(-1, 0)
    forms = [photo, str(photo), pixels, pixels.astype(np.uint16) * 257, pixels / 255, tensor, tensor / 255]
    from_file, *others = predictor.predict(forms)
    for other in others:
        np.testing.assert_allclose(other.probability, from_file.probability, atol=1e-5)


def test_array_saves_as_a_picture(bundles, tmp_path):
    prediction = medssm_monai.load(bundles["mamba_mis"], device="cpu").predict(picture())
    assert Image.open(prediction.save(tmp_path / "mask.png")).size == (50, 40)
    with pytest.raises(ValueError, match=r"geometry of a \.png file"):
        prediction.save(tmp_path / "mask.nii.gz")


def test_result_never_replaces_its_image(bundles, photo):
    before, prediction = photo.read_bytes(), medssm_monai.load(bundles["mamba_mis"], device="cpu").predict(photo)
    for path in (photo, photo.parent):
        with pytest.raises(ValueError, match="itself|overwrite"):
            prediction.save(path)
    assert photo.read_bytes() == before
    assert [path.name for path in photo.parent.iterdir()] == [photo.name]


def test_nothing_is_built_before_the_first_prediction(bundles, monkeypatch):
    built = []
    real = network.get_network
    monkeypatch.setattr(network, "get_network", lambda *a, **k: built.append(a) or real(*a, **k))
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu")
    assert (predictor.kind, predictor.ckpt_path) == ("segmentation", str(bundles["mamba_mis"] / "models/model.pt"))
    assert built == []
    predictor.predict([picture(), picture()])
    assert len(built) == 1


def test_threads_share_one_network_and_agree_with_a_single_one(bundles, monkeypatch):
    images = [picture(seed, size=(33 + seed, 47)) for seed in range(8)]
    expected = [p.probability for p in medssm_monai.load(bundles["mamba_mis"], device="cpu").predict(images)]
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu")
    built, start = [], threading.Barrier(8)
    real = predictor._build
    monkeypatch.setattr(predictor, "_build", lambda: built.append(1) or real())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            first = list(pool.map(lambda image: (start.wait(), predictor.predict(image))[1], images))
            more = list(pool.map(predictor.predict, images * 3))
    finally:
        sys.setswitchinterval(interval)
    assert built == [1]
    for prediction, values in zip(first + more, expected * 4, strict=True):
        np.testing.assert_array_equal(prediction.probability, values)


def test_overrides_and_weights_of_another_place(bundles, photo, tmp_path):
    own = medssm_monai.load(bundles["mamba_mis"], device="cpu", threshold=0.9)
    moved = tmp_path / "other.pt"
    moved.write_bytes((bundles["mamba_mis"] / "models/model.pt").read_bytes())
    moved.with_suffix(".json").write_bytes((bundles["mamba_mis"] / "models/model.json").read_bytes())
    other = medssm_monai.load(bundles["mamba_mis"], device="cpu", ckpt_path=moved, threshold=0.9)
    assert own.settings["network_args"] == other.settings["network_args"]
    a, b = own.predict(photo), other.predict(photo)
    assert a.threshold == 0.9
    np.testing.assert_array_equal(a.probability, b.probability)
    with pytest.raises(ValueError, match="uses treshold .did you mean .threshold"):
        medssm_monai.load(bundles["mamba_mis"], treshold=0.9)


@pytest.mark.parametrize("name", ["mamba_mis", "medconvmamba", "medspectralnet"])
def test_with_test_time_flips_a_mirror_image_gives_the_mirrored_answer(bundles, name):
    image = picture()
    plain, flipped = (medssm_monai.load(bundles[name], device="cpu", tta=tta) for tta in (False, [[-1]]))

    def answers(predictor):
        one, other = predictor.predict([image, image[:, ::-1].copy()])
        if name == "mamba_mis":
            return one.probability, other.probability[:, ::-1]
        return one.probabilities, other.probabilities

    assert np.abs(np.subtract(*answers(plain))).max() > 1e-5
    np.testing.assert_allclose(*answers(flipped), atol=1e-5)


@pytest.mark.parametrize("name", ["mamba_mis", "medconvmamba", "medspectralnet", "clinical_fmamba"])
def test_uncertainty_is_seeded_grows_with_dropout_and_leaves_predictions_alone(bundles, photo, pair, name):
    predictor = medssm_monai.load(bundles[name], device="cpu")
    source = pair if name == "clinical_fmamba" else photo

    def values():
        prediction = predictor.predict(source)
        return getattr(
            prediction, {"segmentation": "probability", "fusion": "image"}.get(predictor.kind, "probabilities")
        )

    before, state = values(), torch.get_rng_state()
    little = predictor.uncertainty(source, samples=4, dropout=0.01)
    much = predictor.uncertainty(source, samples=4, dropout=0.5)
    assert much == predictor.uncertainty(source, samples=4, dropout=0.5)
    assert 0 <= little["epistemic"] < much["epistemic"] <= 1
    if predictor.kind != "fusion":
        assert much["epistemic"] <= much["entropy"] <= 1
    np.testing.assert_array_equal(values(), before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["mamba_mis", "clinical_fmamba"])
def test_the_map_of_uncertainty_has_the_mean_of_the_figure(bundles, photo, pair, name):
    predictor = medssm_monai.load(bundles[name], device="cpu")
    source = pair if name == "clinical_fmamba" else photo
    found = predictor.uncertainty_map(source, samples=4, dropout=0.5, seed=3)
    prediction = predictor.predict(source)
    size = prediction.probability.shape if name == "mamba_mis" else prediction.image.shape[:2]
    assert (found.shape, found.dtype) == (size, np.float32)
    assert found.min() >= 0
    assert found.std() > 0
    figure = predictor.uncertainty(source, samples=4, dropout=0.5, seed=3)["epistemic"]
    assert float(found.astype(np.float64).mean()) == pytest.approx(figure, rel=1e-4)


def test_a_classification_has_no_map_of_uncertainty(bundles, photo):
    with pytest.raises(ValueError, match="does classification, which predicts no pixels"):
        medssm_monai.load(bundles["medconvmamba"], device="cpu").uncertainty_map(photo)


def test_uncertainty_of_bad_arguments_or_without_dropout(bundles, photo):
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu")
    for bad in ({"samples": 1}, {"dropout": 0.0}):
        with pytest.raises(ValueError, match="samples must be 2 or more and dropout"):
            predictor.uncertainty(photo, **bad)
    predictor._noisy = torch.nn.Identity()
    with pytest.raises(ValueError, match="no dropout layer"):
        predictor.uncertainty(photo)


def test_bad_images_are_named(bundles, tmp_path, photo):
    predictor = medssm_monai.load(bundles["mamba_mis"], device="cpu")
    volume, broken = tmp_path / "volume.nii.gz", tmp_path / "broken.png"
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 10), np.float32), np.eye(4)), volume)
    broken.write_bytes(photo.read_bytes()[:100])
    nan = np.full((40, 40), np.nan)
    for source, kind, message in (
        (tmp_path / "nowhere.png", FileNotFoundError, "nowhere.png"),
        (broken, ImageReadError, "broken.png"),
        (volume, ImageReadError, r"volume.nii.gz: holds an array of shape \(8, 9, 10\), expected a single slice"),
        (
            np.zeros((40, 40, 5), np.uint8),
            ImageReadError,
            r"shape \(40, 40, 5\): expected an array .* C = 1 or 3",
        ),
        (torch.zeros(3, 8, 8, 8), ImageReadError, r"\(3, 8, 8, 8\): expected a tensor \(C, H, W\)"),
        (np.zeros((40, 40), np.int32), ImageReadError, "int32: expected uint8"),
        (np.full((40, 40), 7.0), ImageReadError, r"from 7 to 7; scale them to \[0, 1\]"),
        (nan, ValueError, "NaN"),
        (3, ValueError, "got int"),
        ((photo, photo), ValueError, r"takes one image, got 2"),
    ):
        with pytest.raises(kind, match=message):
            predictor.predict(source)
    assert predictor.predict(photo).mask.shape == (40, 50)


def test_bad_pairs_are_named(bundles, pair, photo):
    predictor = medssm_monai.load(bundles["clinical_fmamba"], device="cpu")
    for source, message in (
        (pair[0], r"takes a pair, the tuple \(image_a, image_b\), got 1"),
        ({"image_a": pair[0]}, "image_b not given"),
        ((pair[0], photo), r"photo.png has 3 channel\(s\)"),
        ((pair[0], picture(1, size=(30, 30), channels=1)), "no affine to relate them"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.predict(source)


def _pickled(path):
    torch.save({"network": torch.nn.Linear(2, 2)}, path)


def _of_another_network(path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


@pytest.mark.parametrize("name", ["volume", "volume.pt"])
def test_weights_of_a_bundle_are_known_by_their_name(name):
    predictor = medssm_monai.load("clinical_fmamba", ckpt_path=name)
    assert Path(predictor.ckpt_path).parts[-3:] == ("clinical_fmamba", "models", "volume.pt")
    assert predictor.settings["spatial_dims"] == 3


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (
            lambda path: path.unlink(),
            FileNotFoundError,
            "of mamba_mis not found.*run training --config_file",
        ),
        (_pickled, ValueError, "model.pt: no weights that can be loaded"),
        (lambda path: path.write_bytes(b"no checkpoint"), ValueError, "model.pt: no weights that can be loaded"),
        (_of_another_network, ValueError, "its weights are another network's"),
    ],
    ids=["missing", "pickled", "damaged", "another network"],
)
def test_bad_weights_are_named_and_may_be_fixed_later(tmp_path, photo, spoil, kind, message):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    weights = root / "models" / "model.pt"
    good = weights.read_bytes()
    spoil(weights)
    predictor = medssm_monai.load(root, device="cpu")
    for _ in range(2):
        with pytest.raises(kind, match=message):
            predictor.predict(photo)
    weights.write_bytes(good)
    assert predictor.predict(photo).mask.shape == (40, 50)


def test_a_prediction_says_which_weights_it_is_from(bundles, photo):
    predictor = medssm_monai.load(bundles["medconvmamba"], device="cpu")
    prediction = predictor.predict(photo)
    path = bundles["medconvmamba"] / "models" / "model.pt"
    assert prediction.weights == predictor.weights
    assert prediction.weights.startswith(f"{path} (your own training, training data not recorded; 3 classes: ring, ")


def test_an_image_of_other_dimensions_names_the_weights(bundles, photo):
    with pytest.raises(ImageReadError, match="2 dimensions, the weights are for images of 3.*volumes/models/model.pt"):
        medssm_monai.load(bundles["volumes"], device="cpu").predict((photo, photo))
