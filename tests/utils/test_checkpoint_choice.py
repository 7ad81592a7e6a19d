from __future__ import annotations

import pytest

from medssm_monai.utils import choose_checkpoint, require_weights


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["model.pt", "shipped.pt"], "model.pt"),
        (["shipped.pt", "shipped.json"], "shipped.pt"),
        (["model.pt"], "model.pt"),
        ([], "model.pt"),
        (["shipped.pt", "model.json"], "model.pt"),
        (["shipped.pt", "model_20260102-030405.pt"], "model.pt"),
    ],
)
def test_own_weights_come_first_and_shipped_ones_never_stand_in_for_them(tmp_path, present, expected):
    for name in present:
        (tmp_path / name).touch()
    assert choose_checkpoint(tmp_path, "shipped.pt") == str(tmp_path / expected)


def test_missing_own_weights_name_what_else_there_is(tmp_path):
    for name in ("shipped.pt", "shipped.md", "model_20260102-030405.pt"):
        (tmp_path / name).touch()
    (tmp_path / "model_20260102-030405.json").write_text('{"trained_on": "isic"}')
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(FileNotFoundError) as raised:
        require_weights(choose_checkpoint(tmp_path, "shipped.pt"))
    message = str(raised.value)
    assert "trained weights not found" in message and "model.json is there without its weights" in message
    assert "--ckpt_path FILE" in message
    assert "model_20260102-030405.pt (your own training, trained on isic)" in message
    assert "shipped.pt (come with the bundle, training data not recorded)" in message
