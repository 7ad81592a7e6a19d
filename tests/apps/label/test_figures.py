"""What an answer of the server says of a training."""

from __future__ import annotations

import json

import pytest

from medssm_monai.apps.label.figures import last_figures


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], {}),
        (["1,0.5,nan"], {"epoch": 1.0, "dice": 0.5, "precision": None}),  # a class that was predicted nowhere
        (["1,0.5,0.25", "2,,-inf"], {"epoch": 2.0, "precision": None}),
    ],
)
def test_the_last_epoch_is_json(tmp_path, rows, expected):
    (tmp_path / "history.csv").write_text("\n".join(["epoch,dice,precision", *rows]) + "\n")
    found = last_figures(tmp_path / "history.csv")
    assert found == expected
    json.dumps(found, allow_nan=False)
