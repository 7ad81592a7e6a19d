"""What objects say about the model: its bundle, its package, and the weights that were used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import medssm_monai
from medssm_monai.dicom import model_facts

from ..bundle.tiny_bundles import MAMBA_MIS, copy_bundle


def test_facts_are_those_of_the_predictor(tmp_path):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    predictor = medssm_monai.load(root, device="cpu")
    about = model_facts(predictor)
    weights = Path(predictor.ckpt_path)
    assert about.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    assert (about.name, about.bundle_version) == (root.name, metadata["version"])
    assert about.software == [f"medssm-monai {medssm_monai.__version__}", f"{root.name} {metadata['version']}"]
    assert about.research_only and about.use == "research; not for diagnostic use"
    domain = predictor.domain
    assert about.trained_for == ("not recorded" if domain is None else domain["text"])


def test_a_device_is_no_research(tmp_path):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "intended_use": "screening of colons"}))
    about = model_facts(medssm_monai.load(root, device="cpu"))
    assert not about.research_only and about.use == "not for diagnostic use"
