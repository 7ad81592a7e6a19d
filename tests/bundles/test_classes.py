"""One class, four classes and overlapping regions, in pictures and volumes: training, evaluation, inference, Python."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import medssm_monai
from medssm_monai.data import LabelSet

from .bundle_runs import MAMBA_MIS
from .class_sets import AFFINE, CLASS_SETS, FOUR, ClassSet


@pytest.fixture(scope="module", params=CLASS_SETS, ids=str)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def trained(case, tmp_path_factory):
    """Folder of a finished training, with the data in ``data``."""
    out = tmp_path_factory.mktemp("classes")
    data = case.write(out / "data")
    MAMBA_MIS.run(case.overlays, out, dataset_dir=str(data), run_name="first", **case.tiny)
    return out


def _inputs(case: ClassSet, folder):
    image, _ = case.sample(100)
    return case.write_image(folder, "new", image)


def test_training_records_labels_and_losses(case, trained):
    settings = json.loads((trained / "models" / "model.json").read_text())
    known = LabelSet.of(case.labels)
    assert LabelSet.of(settings["labels"]) == known
    assert settings["spatial_dims"] == case.spatial_dims
    assert (settings["spacing"] is None) == (case.spatial_dims == 2)
    assert (settings["intensity"] is None) == (case.spatial_dims == 2)
    with open(trained / "first" / "history.csv") as stream:
        row = next(csv.DictReader(stream))
    assert np.isfinite(float(row["train_loss"])) and 0 <= float(row["val_mean_dice"]) <= 1


def test_evaluation_scores_every_class_against_a_hand_count(case, trained, tmp_path):
    """The label maps that an inference of the test images writes, counted by NumPy, give the same Dice."""
    ckpt, data = str(trained / "models" / "model.pt"), str(trained / "data")
    files = (*case.overlays, "evaluate.yaml")
    MAMBA_MIS.run(files, tmp_path, dataset_dir=data, ckpt_path=ckpt, part="all", run_name="all", device="cpu")
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    options = {"dataset_dir": f"{data}/imagesTr", "ckpt_path": ckpt, "device": "cpu"}
    MAMBA_MIS.run(("inference.yaml",), tmp_path / "masks", "infer", **options)
    known = LabelSet.of(case.labels)
    scores = {name: [] for name in known.names}
    for number in range(6):
        raw = case.sample(number)[1]
        if case.spatial_dims == 2:
            found = np.asarray(Image.open(tmp_path / "masks" / f"case_{number:02d}.png"))
        else:
            found = np.asarray(nib.load(tmp_path / "masks" / f"case_{number:02d}.nii.gz").dataobj)
        assert found.shape == raw.shape and set(np.unique(found)) <= {0, *known.written, 255}
        if known.overlapping:
            continue  # a label map shows the topmost region alone
        labeled = np.ones(raw.shape, bool) if known.ignore is None else raw != known.ignore
        for name, values, written in zip(known.names, known.values, known.written, strict=True):
            of_label, of_pred = np.isin(raw, values) & labeled, (found == written) & labeled
            if of_label.any() or of_pred.any():
                scores[name].append(2 * (of_label & of_pred).sum() / (of_label.sum() + of_pred.sum()))
    if not known.overlapping:
        for name, each in scores.items():
            entry = summary["classes"][name]["dice"]
            assert entry["mean"] == pytest.approx(np.mean(each), abs=1e-6) and entry["images"] == len(each)
    assert set(summary["classes"]) == set(known.names)
    report = (tmp_path / "all" / "report.md").read_text()
    assert all(name in report for name in known.names)
    assert (tmp_path / "all" / "overlays.png").stat().st_size > 1000


@pytest.mark.parametrize("window", ["the trained one", "another one"])
def test_inference_writes_label_maps_in_the_geometry_of_the_file(case, trained, tmp_path, window):
    """Weights of one patch size serve another."""
    _inputs(case, tmp_path / "in")
    sizes = {}
    if window == "another one":
        sizes = {"roi_size": [64, 32], "resize_to": [64, 32]} if case.spatial_dims == 2 else {"roi_size": [32, 16, 16]}
    options = {"ckpt_path": str(trained / "models" / "model.pt"), "device": "cpu", "save_overlay": True, **sizes}
    MAMBA_MIS.run(("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(tmp_path / "in"), **options)
    known = LabelSet.of(case.labels)
    written = tmp_path / "out" / f"new{case.ending}"
    if case.spatial_dims == 2:
        with Image.open(written) as mask:
            assert mask.mode == "P" and mask.size == case.size[::-1]
            palette = np.asarray(mask.getpalette()).reshape(-1, 3)
            assert [tuple(palette[value]) for value in known.written] == list(known.colors)
    else:
        result = nib.load(written)
        assert result.shape == case.size and result.get_data_dtype() == np.uint8
        np.testing.assert_allclose(result.affine, AFFINE, atol=1e-5)
    names = json.loads((tmp_path / "out" / "labels.json").read_text())["labels"]
    again = LabelSet.of(names)
    assert (again.names, again.written) == (known.names, known.written)
    table = (tmp_path / "out" / "segmentations.csv").read_text()
    assert all(name in table for name in known.names)


def test_python_gives_what_the_files_hold(case, trained, tmp_path):
    files = _inputs(case, tmp_path / "in")
    ckpt = str(trained / "models" / "model.pt")
    MAMBA_MIS.run(
        ("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(tmp_path / "in"), ckpt_path=ckpt, device="cpu"
    )
    predictor = medssm_monai.load(MAMBA_MIS.folder, ckpt_path=ckpt, device="cpu")
    prediction = predictor.predict(files[0] if len(files) == 1 else tuple(files))
    known = LabelSet.of(case.labels)
    assert prediction.probabilities.shape == (known.out_channels, *case.size)
    saved = prediction.save(tmp_path / f"again{case.ending}")
    first = tmp_path / "out" / f"new{case.ending}"
    read = (
        (lambda path: np.asarray(Image.open(path))) if case.spatial_dims == 2 else lambda path: nib.load(path).dataobj
    )
    np.testing.assert_array_equal(read(saved), read(first))
    np.testing.assert_array_equal(prediction.label_map, read(first))
    assert all(prediction.class_mask(name).shape == case.size for name in known.names)


@pytest.mark.integration
@pytest.mark.thorough
def test_a_network_learns_four_classes_of_volumes(tmp_path):
    """Forty epochs on blocks of four gray values: a mean Dice far above the 0.03 to 0.06 of the untrained network."""
    case = ClassSet("learns", 3, FOUR)
    data = case.write(tmp_path / "data", count=16)
    often = {"max_epochs": 40, "val_interval": 40, "warmup_epochs": 1, "learning_rate": 0.005, "ema_decay": 0}
    flow = MAMBA_MIS.run(case.overlays, tmp_path, dataset_dir=str(data), run_name="r", **case.tiny | often)
    assert flow.evaluator.state.metrics["val_mean_dice"] > 0.3
