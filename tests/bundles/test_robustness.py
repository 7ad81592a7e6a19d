"""The robustness of weights, by programs that really run, for every bundle."""

from __future__ import annotations

import csv

import pytest

from medssm_monai.experiments import robustness

from ..thorough import first_of
from .bundle_runs import BUNDLES

SIZES = {
    "mamba_mis": "size 64 x 64",
    "medconvmamba": "size 64 x 64",
    "medspectralnet": "size 64 x 64",
    "clinical_fmamba": "zoom 2",
}


@pytest.mark.integration
@pytest.mark.parametrize("bundle", first_of(BUNDLES), ids=str)
def test_rows_of_every_bundle_run(train_tiny, tmp_path, bundle):
    weights, out = train_tiny(bundle) / "models" / "model.pt", tmp_path / "out"
    words = [str(bundle.folder), "--dataset_dir", "demo", "--ckpt_path", str(weights), "--output_dir", str(out)]
    words += ["--rows", "JPEG 10", SIZES[bundle.name], "--", "--datalists#demo_counts", "[8, 4, 4]"]
    assert robustness.main(words) == 0
    with (out / "robustness.csv").open(encoding="utf8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["row"] for row in rows[::2]] == ["clean", "JPEG 10", SIZES[bundle.name]]
    assert all(row["status"] == "done" and row["images"] == "4" for row in rows)
    assert all(
        float(row["value"]) - float(row["difference"] or 0) == pytest.approx(float(rows[i % 2]["value"]), abs=1e-5)
        for i, row in enumerate(rows)
    )
    assert "Synthetic demo data" in (out / "robustness.md").read_text(encoding="utf8")
