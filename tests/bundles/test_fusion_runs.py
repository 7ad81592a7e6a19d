"""Training, evaluation and inference of the fusion bundle on a tiny network, and what they leave behind."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.transforms import RGBToYCbCr
from medssm_monai.utils.errors import root_cause

from .bundle_runs import CLINICAL_FMAMBA, REPOSITORY, program

nib = pytest.importorskip("nibabel")
EVALUATE = ("train.yaml", "evaluate.yaml")
ROWS = ["fused", "average", "maximum", "copy of A", "copy of B"]
AFFINE = np.array([[-1.0, 0, 0, 40], [0, 1.2, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def trained(train_tiny):
    """Folder of a finished tiny training of two epochs on the synthetic pairs."""
    return train_tiny(CLINICAL_FMAMBA)


@pytest.fixture(scope="module")
def trained_3d(tmp_path_factory):
    """Folder of a finished tiny training on synthetic volumes, by the overlay."""
    out = tmp_path_factory.mktemp("volumes")
    settings = {key: CLINICAL_FMAMBA.tiny[key] for key in ("network_args", "max_epochs", "device")}
    demo = {"datalists#demo_counts": [2, 1, 1], "datalists#demo_size": 44}
    flow = CLINICAL_FMAMBA.run(("train.yaml", "volume.yaml"), out, **settings, **demo, run_name="first")
    assert flow.check_properties() == []
    return out


def infer(models, source, out, **overrides):
    ckpt = str(models / "models" / "model.pt")
    CLINICAL_FMAMBA.run(("inference.yaml",), out, "infer", dataset_dir=str(source), ckpt_path=ckpt, **overrides)


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("dims", [2, 3])
def test_evaluation_puts_the_plain_fusions_into_the_same_table(trained, trained_3d, tmp_path, dims):
    out = trained if dims == 2 else trained_3d
    counts = [8, 4, 4] if dims == 2 else [2, 1, 1]
    settings = {"device": "cpu", "datalists#demo_counts": counts, "ckpt_path": str(out / "models" / "model.pt")}
    settings |= {"datalists#demo_size": 44} if dims == 3 else {}
    flow = CLINICAL_FMAMBA.run(EVALUATE, tmp_path, "train", **settings, run_name="done", n_resamples=20)
    folder = tmp_path / "done"
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["rows"]) == ROWS and "demo (synthetic)" in json.dumps(summary)
    rows = rows_of(folder / "per_pair.csv")
    assert len(rows) == 5 * counts[2] and all("demo_test" in row["image"] for row in rows)
    fused = [float(row["qabf"]) for row in rows if row["row"] == "fused"]
    assert flow.evaluator.state.metrics["test_qabf"] == pytest.approx(np.mean(fused), abs=1e-5)
    assert list(summary["floors"]) == ROWS[1:] and list(summary["floors"]["average"]) == ["ssim_mean"]
    assert summary["floors"]["average"]["ssim_mean"]["value"] == summary["rows"]["average"]["ssim_mean"]["mean"]
    assert "| average |" in (folder / "report.md").read_text().split("## Sanity")[1]
    assert (folder / "cases.png").stat().st_size > 1000
    client, (logged,) = CLINICAL_FMAMBA.mlflow_runs(tmp_path)
    assert "test_ssim_mean" in logged.data.metrics and logged.data.tags["data"] == "demo"
    files = {entry.path for entry in client.list_artifacts(logged.info.run_id, "done")}
    assert {"done/cases.png", "done/per_pair.csv", "done/report.md"} <= files


def test_a_corrupted_or_enlarged_fusion_is_compared_with_its_clean_sources(trained, tmp_path):
    settings = {"device": "cpu", "datalists#demo_counts": [8, 4, 4], "ckpt_path": str(trained / "models" / "model.pt")}
    settings |= {"report_metrics": ["ssim_mean"], "cases": 0, "n_resamples": 20}
    found = {}
    for name, changes in (
        ("clean", {}),
        ("noise", {"corruption": {"kind": "noise", "strength": 0.2}}),
        ("zoom", {"zoom": 0.5}),
    ):
        CLINICAL_FMAMBA.run(EVALUATE, tmp_path, "train", **settings, **changes, run_name=name)
        found[name] = json.loads((tmp_path / name / "summary.json").read_text())
    clean, noise = (found[name]["rows"] for name in ("clean", "noise"))
    lost = {row: clean[row]["ssim_mean"]["mean"] - noise[row]["ssim_mean"]["mean"] for row in ROWS}
    assert min(lost.values()) > 0.1, lost  # the plain fusions are of the corrupted sources too
    assert list(found["zoom"]["image_sizes"]) == ["32 x 32"] and list(found["clean"]["image_sizes"]) == ["64 x 64"]


def test_inference_writes_gray_pictures_of_any_size(trained, tmp_path, write_image):
    sizes = {"a b": (41, 30), "c": (64, 72)}
    for name, size in sizes.items():
        for source in CLINICAL_FMAMBA.sources:
            write_image(tmp_path / "in" / source / f"{name}.png", *size, "L", seed=len(source))
    infer(trained, tmp_path / "in", tmp_path / "out")
    for name, size in sizes.items():
        with Image.open(tmp_path / "out" / f"{name}_fused.png") as fused:
            assert (fused.mode, fused.size) == ("L", size)


def test_inference_keeps_the_color_of_a_source(trained, tmp_path, write_image):
    write_image(tmp_path / "in" / "MRI" / "x.png", 40, 32, "L")
    soft = np.random.default_rng(1).integers(90, 165, (32, 40, 3), dtype=np.uint8)  # no color leaves the RGB cube
    (tmp_path / "in" / "PET").mkdir()
    Image.fromarray(soft).save(tmp_path / "in" / "PET" / "x.png")
    infer(trained, tmp_path / "in", tmp_path / "out", sources=["MRI", "PET"], channels=[1, 3])
    fused = Image.open(tmp_path / "out" / "x_fused.png")
    assert (fused.mode, fused.size) == ("RGB", (40, 32))
    chroma = [
        RGBToYCbCr()(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255)[1:] for image in (fused, soft)
    ]
    assert (chroma[0] - chroma[1]).abs().max() < 0.02


def test_a_csv_and_endings_list_pairs(trained, tmp_path, write_image):
    for subject in ("s1", "s2"):
        for ending in ("_t1", "_t2"):
            write_image(tmp_path / "in" / subject / f"scan{ending}.png", 40, 32, "L", seed=len(subject))
    infer(trained, tmp_path / "in", tmp_path / "by ending", sources=["_t1", "_t2"])
    assert all((tmp_path / "by ending" / subject / "scan_fused.png").is_file() for subject in ("s1", "s2"))
    (tmp_path / "list.csv").write_text("image_a,image_b\nin/s1/scan_t1.png,in/s2/scan_t2.png\n")
    infer(trained, tmp_path / "list.csv", tmp_path / "by csv")
    written = {path.name for path in (tmp_path / "by csv").iterdir()}
    assert written == {"scan_t1_fused.png", "unlike_training.csv"}  # noise is like no training image


def test_volumes_are_fused_in_the_geometry_of_a(trained_3d, tmp_path, caplog):
    """B lies on another grid; the window is smaller than the volume in one axis and larger in another."""
    for source, size, shift in (("source_a", (40, 33, 17), 0.0), ("source_b", (44, 33, 20), 1.5)):
        affine = AFFINE.copy()
        affine[0, 3] += shift
        (tmp_path / "in" / source).mkdir(parents=True)
        values = np.random.default_rng(0).random(size).astype(np.float32)
        nib.save(nib.Nifti1Image(values, affine), tmp_path / "in" / source / "x.nii.gz")
    infer(trained_3d, tmp_path / "in", tmp_path / "out")
    fused = nib.load(tmp_path / "out" / "x_fused.nii.gz")
    assert fused.shape == (40, 33, 17)
    np.testing.assert_allclose(fused.affine, AFFINE)
    assert 0 <= fused.get_fdata().min() < fused.get_fdata().max() <= 1
    assert "resampled onto the first" in caplog.text


def test_the_command_line_fuses_as_documented(trained, tmp_path, write_image):
    for source in ("MRI", "CT"):
        write_image(tmp_path / "in" / source / "x.png", 40, 32, "L")
    words = ["-m", "monai.bundle", "run", "--config_file", *CLINICAL_FMAMBA.config("inference.yaml")]
    words += ["--dataset_dir", str(tmp_path / "in"), "--sources", "['MRI','CT']"]
    words += ["--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    done = program([*words, "--ckpt_path", str(trained / "models" / "model.pt")], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "x_fused.png").is_file()


@pytest.mark.realdata
@pytest.mark.parametrize(("overlay", "counts"), [("harvard_mri_ct", (144, 16, 24)), ("harvard_mri_pet", (220, 25, 24))])
def test_overlays_of_the_real_runs_find_their_data(real_data, tmp_path, overlay, counts):
    settings = {"network_args": CLINICAL_FMAMBA.tiny["network_args"], "device": "cpu", "cache_rate": 0.0}
    names = ("train.yaml", f"{overlay}.yaml")
    flow = CLINICAL_FMAMBA.workflow(names, tmp_path, **settings, dataset_dir=str(real_data / overlay))
    datalists = flow.parser.get_parsed_content("datalists")
    assert tuple(len(datalists[part]) for part in ("training", "validation", "test")) == counts
    batch = next(iter(flow.parser.get_parsed_content("train#dataloader")))
    assert batch["image"].shape == batch["label"].shape == (4, 2, 128, 128)
    assert 0 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1


def test_fine_tuning_goes_on_from_the_shipped_weights_with_more_weight_on_ssim(tmp_path):
    settings = {"device": "cpu", "datalists#demo_counts": [2, 1, 1], "roi_size": [32, 32], "batch_size": 2}
    flow = CLINICAL_FMAMBA.workflow(("train.yaml", "finetune.yaml"), tmp_path, **settings)
    shipped = torch.load(REPOSITORY / "bundles" / "clinical_fmamba" / "models" / "model.pt", weights_only=True)
    network, loss = (flow.parser.get_parsed_content(key) for key in ("network_def", "loss"))
    assert network.output == "blend" and loss.weights == {"intensity": 2.0, "gradient": 10.0, "ssim": 20.0}
    assert all(torch.equal(value, shipped[name].to(value.dtype)) for name, value in network.state_dict().items())
    with pytest.raises(RuntimeError) as raised:
        CLINICAL_FMAMBA.run(("train.yaml", "finetune.yaml"), tmp_path / "image", **settings, output="image")
    assert "Pass --output 'blend'" in str(root_cause(raised.value))
