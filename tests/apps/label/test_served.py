"""The predictor that a server holds, and the command that starts it; MONAI Label itself is not needed here."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from medssm_monai.apps.label.__main__ import main
from medssm_monai.apps.label.served import ServedModel

from ...bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, copy_bundle

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.fixture
def served(tmp_path, monkeypatch):
    copy_bundle(MAMBA_MIS, tmp_path)
    monkeypatch.setenv("MEDSSM_BUNDLES", str(tmp_path))
    return ServedModel("mamba_mis", device="cpu")


def test_predictor_is_kept_until_the_weights_change(served):
    first = served.predictor()
    before = first.predict(PIXELS).probability
    assert served.predictor() is first
    torch.save(MAMBA_MIS.network(seed=1).state_dict(), served.root / "models" / "model.pt")
    assert served.predictor() is not first
    assert np.abs(served.predictor().predict(PIXELS).probability - before).max() > 1e-3
    np.testing.assert_array_equal(first.predict(PIXELS).probability, before)  # a request that is under way ends well


def test_weights_that_come_later_are_found(served):
    weights = served.root / "models" / "model.pt"
    content = weights.read_bytes()
    weights.unlink()
    assert served.weights is None
    with pytest.raises(FileNotFoundError, match="Train first"):
        served.predictor().predict(PIXELS)
    weights.write_bytes(content)
    assert served.weights == weights
    assert served.predictor().predict(PIXELS).mask.shape == (40, 40)


def test_partner_of_a_source_is_told_by_its_ending(tmp_path, monkeypatch):
    root = copy_bundle(CLINICAL_FMAMBA, tmp_path)
    monkeypatch.setenv("MEDSSM_BUNDLES", str(tmp_path))
    assert ServedModel("clinical_fmamba").partner("case_1_a") == "case_1_b"
    with pytest.raises(ValueError, match="'case_1_b' does not end in _a.*image_b"):
        ServedModel("clinical_fmamba").partner("case_1_b")
    settings = root / "models" / "model.json"
    settings.write_text(settings.read_text().replace('"_a"', '"MRI"').replace('"_b"', '"CT"'))
    assert ServedModel("clinical_fmamba").sources == ("_MRI", "_CT")


def test_start_without_monai_label_says_what_to_install(tmp_path, monkeypatch):
    copy_bundle(MAMBA_MIS, tmp_path)
    monkeypatch.setenv("MEDSSM_BUNDLES", "")
    monkeypatch.setitem(sys.modules, "monailabel", None)
    with pytest.raises(SystemExit, match="MONAI Label is missing"):
        main(["--studies", str(tmp_path / "studies"), "--bundles", str(tmp_path), "--models", "mamba_mis"])


def test_start_with_an_unknown_model_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match="no bundle 'nothing'"):
        main(["--studies", str(tmp_path), "--models", "nothing"])
