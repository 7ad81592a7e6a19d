"""New weights take the place of those that are served."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from medssm_monai.apps.label.publish import publish


def _model(folder: Path, text: str, ends=("pt", "json")) -> Path:
    folder.mkdir(exist_ok=True)
    for end in ends:
        (folder / f"model.{end}").write_text(f"{text} {end}")
    return folder


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_earlier_weights_are_kept_with_their_settings(tmp_path):
    target = _model(tmp_path / "models", "old")
    os.utime(target / "model.json", (0, 0))  # settings are written when a training starts, weights when it ends
    publish(_model(tmp_path / "run", "new"), target)
    found = _content(target)
    assert (found.pop("model.pt"), found.pop("model.json")) == ("new pt", "new json")
    assert sorted(found.values()) == ["old json", "old pt"]
    assert len({Path(name).stem for name in found}) == 1
    assert not _content(tmp_path / "run")


def test_several_of_one_second_are_all_kept(tmp_path):
    target = _model(tmp_path / "models", "0")
    for number in range(1, 4):
        os.utime(target / "model.pt", (1, 1))
        publish(_model(tmp_path / "run", str(number)), target)
    assert sorted(_content(target).values()) == sorted(f"{n} {end}" for n in range(4) for end in ("pt", "json"))


def test_weights_never_lie_without_their_settings(tmp_path, monkeypatch):
    target, seen = _model(tmp_path / "models", "old"), []

    def watched(real, source, place):
        real(source, place)
        names = {path.name for path in target.iterdir()}
        seen.append(names)
        if "model.pt" in names:
            assert (target / "model.pt").read_text().split()[0] == (target / "model.json").read_text().split()[0]

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, partial(watched, getattr(os, name)))
    publish(_model(tmp_path / "run", "new"), target)
    assert len(seen) == 6  # two brought beside their places, two kept, two put in place


@pytest.mark.parametrize("left", [("pt",), ("json",), ()])
def test_an_incomplete_training_changes_nothing(tmp_path, left):
    target = _model(tmp_path / "models", "old")
    before = _content(target)
    with pytest.raises(RuntimeError, match="the training left no model"):
        publish(_model(tmp_path / "run", "new", left), target)
    assert _content(target) == before


def test_the_first_weights_of_a_bundle(tmp_path):
    publish(_model(tmp_path / "run", "new"), tmp_path / "models")
    assert _content(tmp_path / "models") == {"model.pt": "new pt", "model.json": "new json"}
