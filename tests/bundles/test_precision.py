from __future__ import annotations

import pytest
import torch

from .bundle_runs import every_bundle, failing


@every_bundle
@pytest.mark.parametrize(("option", "chosen"), [({}, "float32"), ({"precision": "bfloat16"}, "bfloat16")])
def test_training_and_its_validation_compute_in_it(bundle, tmp_path, option, chosen):
    flow = bundle.workflow(("train.yaml",), tmp_path, **bundle.tiny, **option)
    trainer, evaluator = (flow.parser.get_parsed_content(key) for key in ("train#trainer", "validate#evaluator"))
    assert (trainer.inferer.precision, evaluator.inferer.precision) == (chosen, chosen)
    assert not trainer.amp and trainer.scaler is None


@every_bundle
def test_a_training_in_bfloat16_runs_and_its_weights_are_float32(bundle, tmp_path):
    bundle.run(("train.yaml",), tmp_path, **bundle.tiny, precision="bfloat16")
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    _, (run,) = bundle.mlflow_runs(tmp_path)
    assert run.data.params["precision"] == "bfloat16"


@every_bundle
@pytest.mark.parametrize("config", ["train.yaml", "inference.yaml"])
@pytest.mark.parametrize(
    ("word", "message"), [("half", "precision 'half' is not known"), ("float16", "'float16' is for CUDA devices")]
)
def test_what_cannot_be_is_refused_before_anything_is_written(bundle, tmp_path, config, word, message):
    more = {"ckpt_path": str(tmp_path / "none.pt")} if config == "inference.yaml" else bundle.tiny
    with failing(ValueError, message):
        bundle.workflow((config,), tmp_path / "out", **{**more, "device": "cpu", "precision": word})
    assert not (tmp_path / "out").exists()
