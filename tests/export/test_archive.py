"""Prediction with an exported archive alone."""

from __future__ import annotations

import gc
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import medssm_monai
from medssm_monai.export import ArchivePredictor, torchscript
from medssm_monai.export.capture import Capture
from medssm_monai.export.source import open_source

from ..bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, Tiny, copy_bundle

FUSION = replace(CLINICAL_FMAMBA, settings={**CLINICAL_FMAMBA.settings, "sources": ["source_a", "source_b"]})
FIELDS = {"segmentation": "probability", "classification": "probabilities", "fusion": "image"}


def exported(tiny: Tiny, folder: Path, **overrides) -> tuple[Path, Path]:
    """A tiny bundle and its archive, which lies elsewhere."""
    root, archive = copy_bundle(tiny, folder), folder / "exported" / "model.ts"
    archive.parent.mkdir()
    source = open_source(root, overrides=overrides)
    settings = tiny.settings
    channels = settings.get("in_channels", 2)
    size = settings.get("image_size") or settings["roi_size"]
    torchscript.write(Capture(source.network, torch.rand(2, channels, *size)), archive, source.extra)
    return root, archive


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("tiny", "source", "overrides"),
    [
        (MAMBA_MIS, picture((40, 51, 3)), {}),
        (MEDCONVMAMBA, picture((37, 30)), {}),
        (FUSION, (picture((48, 40)), picture((48, 40), 1)), {"sliding_window": True}),
    ],
    ids=["segmentation", "classification", "fusion"],
)
def test_an_archive_predicts_what_its_bundle_does_and_needs_nothing_of_it(tiny, source, overrides, tmp_path):
    root, archive = exported(tiny, tmp_path, **overrides)
    predictor = medssm_monai.load(root, device="cpu", **overrides)
    expected = predictor.predict(source)
    shutil.rmtree(root)
    alone = ArchivePredictor(archive, device="cpu")
    assert (alone.name, alone.kind, alone.ckpt_path) == (tiny.bundle, predictor.kind, str(archive))
    found = alone.predict(source)
    field = FIELDS[alone.kind]
    np.testing.assert_allclose(getattr(found, field), getattr(expected, field), rtol=0, atol=1e-5)
    assert np.ptp(np.asarray(getattr(expected, field))) > 1e-3  # something to get wrong
    assert found.trained_for == expected.trained_for and "model.ts" in found.weights


def test_settings_can_be_overridden_and_the_unpacked_files_go_with_the_predictor(tmp_path):
    root, archive = exported(MEDCONVMAMBA, tmp_path)
    image = picture((32, 32))
    expected = medssm_monai.load(root, device="cpu", temperature=0.5).predict(image)
    sharp = ArchivePredictor(archive, device="cpu", temperature=0.5)
    assert sharp.predict(image).by_class() == pytest.approx(expected.by_class(), abs=1e-5)
    assert ArchivePredictor(archive, device="cpu").predict(image).confidence < expected.confidence - 1e-3
    with pytest.raises(ValueError, match="nothing in this config uses temprature"):
        ArchivePredictor(archive, temprature=0.5)
    unpacked = sharp.root
    assert unpacked.is_dir()
    del sharp
    gc.collect()
    assert not unpacked.exists()


def test_what_a_traced_network_cannot_do_is_refused(tmp_path):
    _, archive = exported(MEDCONVMAMBA, tmp_path)
    predictor = ArchivePredictor(archive, device="cpu")
    with pytest.raises(ValueError, match="no layers to look into; explain with the bundle's folder"):
        predictor.explain(picture((32, 32)))
    with pytest.raises(ValueError, match="no dropout layer"):
        predictor.uncertainty(picture((32, 32)))


def test_files_that_are_no_archive_of_ours_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no archive .*lost\.ts"):
        ArchivePredictor(tmp_path / "lost.ts")
    (tmp_path / "text.ts").write_text("no zip")
    with pytest.raises(ValueError, match=r"text\.ts is no TorchScript archive"):
        ArchivePredictor(tmp_path / "text.ts")
    capture = Capture(torch.nn.Conv2d(1, 1, 1).eval(), torch.rand(2, 1, 8, 8))
    metadata = {"metadata.json": json.dumps({"name": "theirs"})}
    torchscript.write(capture, tmp_path / "theirs.ts", metadata)
    with pytest.raises(ValueError, match=r"does not carry inference\.json, model_settings\.json\. Export the bundle"):
        ArchivePredictor(tmp_path / "theirs.ts")


def test_a_name_that_leads_elsewhere_stays_a_name(tmp_path):
    _, archive = exported(MEDCONVMAMBA, tmp_path)
    names = ["metadata.json", "inference.json", "model_settings.json"]
    extra = torchscript.read_extra(archive, names)
    extra["metadata.json"] = json.dumps({**json.loads(extra["metadata.json"]), "name": "../../elsewhere"})
    network = torch.jit.load(archive)
    files = {name: text.encode() for name, text in extra.items()}
    torch.jit.save(network, tmp_path / "other.ts", _extra_files=files)
    predictor = ArchivePredictor(tmp_path / "other.ts")
    assert predictor.root.name == "elsewhere" and predictor.root.parent == Path(predictor._unpacked.name)
