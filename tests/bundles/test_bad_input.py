"""Wrong settings and folders, alike in every bundle: one clear error that names the remedy, and nothing lost."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events

from medssm_monai.handlers import NonFiniteLossError

from .bundle_runs import REPOSITORY, command_line, every_bundle, failing, first_bundle, program

TRAIN = ("train.yaml",)


@every_bundle
def test_missing_dataset_dir_is_no_reason_to_fall_back(bundle, tmp_path):
    with failing(FileNotFoundError, "nowhere"):
        bundle.run(TRAIN, tmp_path, **_without_demo(bundle), dataset_dir=str(tmp_path / "nowhere"))
    assert not list(tmp_path.rglob("*.png"))


def _without_demo(bundle):
    return {key: value for key, value in bundle.tiny.items() if "demo" not in key}


@every_bundle
def test_nan_loss_names_the_files_and_keeps_the_checkpoints(bundle, tmp_path):
    flow = bundle.workflow(TRAIN, tmp_path, **{**bundle.tiny, "max_epochs": 3}, run_name="nan")
    trainer, network = flow.trainer, flow.network_def

    def spoil(engine):
        if engine.state.epoch == 2:
            with torch.no_grad():
                network.head.weight.fill_(float("nan"))

    trainer.add_event_handler(Events.EPOCH_STARTED, spoil)
    with failing(NonFiniteLossError, r"epoch 2.*demo_training_\d+\.png.*learning rate"):
        flow.run()
    assert not (tmp_path / "models" / "model.pt").exists()  # the run has failed, so that nothing is published
    state = torch.load(tmp_path / "nan" / "model.pt", weights_only=True)
    assert all(v.isfinite().all() for v in state.values() if v.is_floating_point())
    assert (tmp_path / "nan" / "checkpoint_epoch=1.pt").is_file()
    assert (tmp_path / "nan" / "history.csv").is_file()


@every_bundle
def test_unwritable_output_folder_names_the_option(bundle, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with failing(PermissionError, "--output_dir"):
        bundle.run(TRAIN, tmp_path / "file" / "out", **bundle.tiny)


@pytest.mark.parametrize("names", [("inference.yaml",), ("train.yaml", "evaluate.yaml")], ids="+".join)
@every_bundle
def test_no_weights_is_a_clear_error(bundle, names, tmp_path, write_image):
    settings = {"ckpt_path": str(tmp_path / "model.pt")}
    if names[0] == "inference.yaml":
        settings["dataset_dir"] = str(bundle.write_input(tmp_path / "in", write_image))
    else:
        settings["datalists#demo_counts"] = [4, 4, 4]
    with failing(FileNotFoundError, "trained weights not found.*model.pt.*--ckpt_path"):
        bundle.run(names, tmp_path, "infer" if names[0] == "inference.yaml" else "train", **settings)


@first_bundle
def test_the_program_ends_with_what_went_wrong(bundle, tmp_path):
    words = ["-m", "monai.bundle", "run", "training", "--config_file", *bundle.config("train.yaml")]
    done = program([*words, *command_line({**bundle.tiny, "variant": "no_such_net"}, tmp_path)], REPOSITORY)
    assert done.returncode != 0
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("What went wrong: ValueError: unknown network 'no_such_net'; known networks:")
    assert bundle.variant in last
