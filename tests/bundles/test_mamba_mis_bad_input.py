"""Bad input to the Mamba-MIS bundle: one clear error that names the files and the mend, and nothing lost."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from ignite.engine import Events
from PIL import Image

from medssm_monai.data import DatalistError
from medssm_monai.handlers import NonFiniteLossError
from medssm_monai.utils import root_cause

from .bundle_runs import REPOSITORY, TINY, command_line, config, program, run, workflow

TRAIN = ("train.yaml",)


@contextmanager
def failing(kind, message):
    """Expect an error whose root cause, below MONAI's wrappers, is of this kind and says this."""
    with pytest.raises(RuntimeError) as raised:
        yield
    cause = root_cause(raised.value)
    assert isinstance(cause, kind)
    assert re.search(message, str(cause), re.DOTALL)


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
    return {**{k: v for k, v in TINY.items() if "demo" not in k}, "dataset_dir": str(dataset), **more}


def _truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def _shrink(path):
    Image.open(path).resize((20, 20)).save(path)


def _empty_masks(folder):
    for path in (folder / "masks").iterdir():
        Image.new("L", (48, 40)).save(path)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda d: shutil.rmtree(d / "images") or (d / "images").mkdir(), "images"),
        (lambda d: (d / "masks" / "case 3.png").unlink(), "case 3"),
        (lambda d: _shrink(d / "masks" / "case 2.png"), "case 2.png"),
        (lambda d: _truncate(d / "images" / "case 1.png"), "case 1.png"),
        (_empty_masks, "mask"),
    ],
    ids=["no images", "image without mask", "unequal sizes", "truncated file", "all masks empty"],
)
def test_spoilt_dataset_gives_one_error_before_anything_is_written(dataset, tmp_path, spoil, named):
    spoil(dataset)
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.pt").write_bytes(b"an earlier model")
    with failing(DatalistError, named):
        run(TRAIN, tmp_path, **_settings(dataset))
    assert [p.read_bytes() for p in models.glob("model*.pt")] == [b"an earlier model"]


def test_mixed_pixel_formats_and_grey_mask_edges_train(dataset, tmp_path):
    images, masks = dataset / "images", dataset / "masks"
    Image.open(images / "case 0.png").convert("L").save(images / "case 0.png")
    Image.open(images / "case 1.png").convert("RGBA").save(images / "case 1.png")
    Image.open(images / "case 2.png").convert("P").save(images / "case 2.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16)).save(images / "case 3.png")
    grey = np.array(Image.open(masks / "case 4.png")).astype(np.uint8)
    grey[9], grey[30] = 40, 200
    Image.fromarray(grey).save(masks / "case 4.png")
    run(TRAIN, tmp_path, **_settings(dataset))
    assert (tmp_path / "models" / "model.pt").is_file()


def test_missing_dataset_dir_is_no_reason_to_fall_back(tmp_path):
    with failing(FileNotFoundError, "nowhere"):
        run(TRAIN, tmp_path, **_settings(tmp_path / "nowhere"))
    assert not list(tmp_path.rglob("*.png"))


def test_nan_loss_names_the_files_and_keeps_the_checkpoints(dataset, tmp_path):
    settings = _settings(dataset, max_epochs=3, run_name="nan")
    flow = workflow(TRAIN, tmp_path, **settings)
    trainer, network = flow.trainer, flow.network_def

    def spoil(engine):
        if engine.state.epoch == 2:
            with torch.no_grad():
                network.head.weight.fill_(float("nan"))

    trainer.add_event_handler(Events.EPOCH_STARTED, spoil)
    with failing(NonFiniteLossError, r"epoch 2.*case \d.png.*learning rate"):
        flow.run()
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(v.isfinite().all() for v in state.values() if v.is_floating_point())
    assert (tmp_path / "nan" / "checkpoint_epoch=1.pt").is_file()
    assert (tmp_path / "nan" / "history.csv").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"variant": "mamba_mis_xxl"}, "mamba_mis_xxl.*mamba_mis_s"),
        ({"image_size": [100, 96]}, r"\(100, 96\).*multiples of 32"),
    ],
)
def test_wrong_settings_name_the_right_ones(tmp_path, overrides, message):
    with failing(ValueError, message):
        run(TRAIN, tmp_path, **{**TINY, **overrides})


def test_unwritable_output_folder_names_the_option(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with failing(PermissionError, "--output_dir"):
        run(TRAIN, tmp_path / "file" / "out", **TINY)


@pytest.mark.parametrize("names", [("inference.yaml",), ("train.yaml", "evaluate.yaml")], ids="+".join)
def test_no_weights_is_a_clear_error(names, tmp_path, dataset):
    kind = "infer" if names[0] == "inference.yaml" else "train"
    with failing(FileNotFoundError, "trained weights not found.*model.pt.*--ckpt_path"):
        run(names, tmp_path, kind, dataset_dir=str(dataset), ckpt_path=str(tmp_path / "model.pt"))


def test_the_program_ends_with_what_went_wrong(tmp_path):
    words = ["-m", "monai.bundle", "run", "training", "--config_file", *config("train.yaml")]
    done = program([*words, *command_line({**TINY, "variant": "mamba_mis_xxl"}, tmp_path)], REPOSITORY)
    assert done.returncode != 0
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("What went wrong: ValueError: unknown network 'mamba_mis_xxl'; known networks:")
