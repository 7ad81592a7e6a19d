from __future__ import annotations

import hashlib
import os

import pytest

from medssm_monai.bundle import choose_checkpoint, require_weights


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["trained/model.pt", "model.pt"], "trained/model.pt"),
        (["model.pt", "model.json"], "model.pt"),
        (["trained/model.pt"], "trained/model.pt"),
        ([], "model.pt"),
        (["model.pt", "trained/other.pt"], "model.pt"),
        (["model.pt", "trained/model.json"], "trained/model.pt"),
        (["model.pt", "trained/model_20260102-030405.pt"], "trained/model.pt"),
    ],
)
def test_own_weights_come_first_and_shipped_ones_never_stand_in_for_them(tmp_path, present, expected):
    assert choose_checkpoint(made(tmp_path, *present)) == os.fspath(tmp_path / expected)


def test_missing_own_weights_name_what_else_there_is(tmp_path):
    made(tmp_path, "model.pt", "trained/model_20260102-030405.pt")
    (tmp_path / "model.md").write_text(hashlib.sha256(b"").hexdigest())
    (tmp_path / "trained" / "model_20260102-030405.json").write_text('{"trained_on": "isic"}')
    (tmp_path / "trained" / "model.json").write_text("{}")
    with pytest.raises(FileNotFoundError) as raised:
        require_weights(choose_checkpoint(tmp_path))
    message = str(raised.value)
    assert "trained weights not found" in message and "model.json is there without its weights" in message
    assert "--ckpt_path FILE" in message
    assert "model_20260102-030405.pt (your own training, trained on isic)" in message
    assert "../model.pt (come with the bundle, training data not recorded)" in message
