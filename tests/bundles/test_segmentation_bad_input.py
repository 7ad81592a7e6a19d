"""Bad input to the Mamba-MIS bundle: one clear error that names the files and the remedy, and nothing lost."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import DatalistError

from .bundle_runs import MAMBA_MIS, failing

TRAIN = ("train.yaml",)


@pytest.fixture
def dataset(tmp_path, write_image):
    """A plain dataset of eight pictures with square lesions."""
    folder = tmp_path / "data"
    for i in range(8):
        write_image(folder / "images" / f"case {i}.png", 48, 40, seed=i)
        mask = np.zeros((40, 48), np.uint8)
        mask[10:30, 8 + i : 30 + i] = 255
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / "masks" / f"case {i}.png")
    return folder


def _settings(dataset, **more):
    return {**{k: v for k, v in MAMBA_MIS.tiny.items() if "demo" not in k}, "dataset_dir": str(dataset), **more}


def _truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def _shrink(path):
    Image.open(path).resize((20, 20)).save(path)


def _empty_masks(folder):
    for path in (folder / "masks").iterdir():
        Image.new("L", (48, 40)).save(path)


def _number_classes(folder):
    for path in sorted((folder / "masks").iterdir()):
        values = np.array(Image.open(path)) // 255
        values[20:30] *= 2
        Image.fromarray(values).save(path)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda d: shutil.rmtree(d / "images") or (d / "images").mkdir(), "images"),
        (lambda d: (d / "masks" / "case 3.png").unlink(), "case 3"),
        (lambda d: _shrink(d / "masks" / "case 2.png"), "case 2.png"),
        (lambda d: _truncate(d / "images" / "case 1.png"), "case 1.png"),
        (_empty_masks, "mask"),
        (_number_classes, "values 0, 1, 2"),
    ],
    ids=["no images", "image without mask", "unequal sizes", "truncated file", "all masks empty", "class numbers"],
)
def test_spoilt_dataset_gives_one_error_before_anything_is_written(dataset, tmp_path, spoil, named):
    spoil(dataset)
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.pt").write_bytes(b"an earlier model")
    with failing(DatalistError, named):
        MAMBA_MIS.run(TRAIN, tmp_path, **_settings(dataset))
    assert [p.read_bytes() for p in models.glob("model*.pt")] == [b"an earlier model"]


def test_class_numbers_are_named_before_anything_is_written_and_can_be_chosen(dataset, tmp_path):
    _number_classes(dataset)
    with failing(DatalistError, r"(?s)--foreground nonzero.*case 0\.png \(values 0, 1, 2; and 7 more mask"):
        MAMBA_MIS.run(TRAIN, tmp_path, **_settings(dataset))
    MAMBA_MIS.run(TRAIN, tmp_path, **_settings(dataset, foreground="nonzero"))
    MAMBA_MIS.run(("train.yaml", "evaluate.yaml"), tmp_path, **_settings(dataset, foreground=[2]))


def test_mixed_pixel_formats_and_gray_mask_edges_train(dataset, tmp_path):
    images, masks = dataset / "images", dataset / "masks"
    Image.open(images / "case 0.png").convert("L").save(images / "case 0.png")
    Image.open(images / "case 1.png").convert("RGBA").save(images / "case 1.png")
    Image.open(images / "case 2.png").convert("P").save(images / "case 2.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16)).save(images / "case 3.png")
    gray = np.array(Image.open(masks / "case 4.png")).astype(np.uint8)
    gray[9], gray[30] = 40, 200
    Image.fromarray(gray).save(masks / "case 4.png")
    MAMBA_MIS.run(TRAIN, tmp_path, **_settings(dataset))
    assert (tmp_path / "models" / "model.pt").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"variant": "mamba_mis_xxl"}, "mamba_mis_xxl.*mamba_mis_s"),
        ({"image_size": [100, 96]}, r"\(100, 96\).*multiples of 32"),
    ],
)
def test_wrong_settings_name_the_right_ones(tmp_path, overrides, message):
    with failing(ValueError, message):
        MAMBA_MIS.run(TRAIN, tmp_path, **{**MAMBA_MIS.tiny, **overrides})
