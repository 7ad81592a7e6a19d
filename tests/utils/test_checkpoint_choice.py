from __future__ import annotations

import logging

import pytest

from medssm_monai.utils import choose_checkpoint


@pytest.mark.parametrize(
    ("present", "expected", "said"),
    [
        (["model.pt", "shipped.pt"], "model.pt", "your own training"),
        (["shipped.pt"], "shipped.pt", "come with the bundle"),
        (["model.pt"], "model.pt", "your own training"),
        ([], "model.pt", ""),
    ],
)
def test_own_weights_come_before_shipped_ones(tmp_path, caplog, present, expected, said):
    for name in present:
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO):
        assert choose_checkpoint(tmp_path, "shipped.pt") == str(tmp_path / expected)
    assert said in caplog.text
