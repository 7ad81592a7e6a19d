"""The weights of a finished run take the place of earlier ones, as a pair, and nothing is lost on the way."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from medssm_monai.bundle import publish_weights, read_model_settings


def model(folder: Path, text: str, name: str = "model", **settings) -> Path:
    """A folder with weights and their settings, as a run leaves them."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pt").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    content = {"variant": text, "weights_sha256": digest, "trained_on": "demo", **settings}
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def pairs(folder: Path) -> dict[str, tuple[str, str]]:
    """Stem -> text of the weights and ``variant`` of the settings; fails on half a pair."""
    stems = {path.stem for path in folder.iterdir() if path.suffix in (".pt", ".json")}
    return {
        stem: ((folder / f"{stem}.pt").read_text(), json.loads((folder / f"{stem}.json").read_text())["variant"])
        for stem in stems
    }


def test_the_first_weights_of_a_bundle(tmp_path):
    assert publish_weights(model(tmp_path / "run", "new"), tmp_path / "models") == tmp_path / "models" / "model.pt"
    assert pairs(tmp_path / "models") == {"model": ("new", "new")} == pairs(tmp_path / "run")
    assert read_model_settings(tmp_path / "models" / "model.pt", {"variant": ""}) == {"variant": "new"}


def test_settings_without_a_hash_get_that_of_the_weights(tmp_path):
    run = model(tmp_path / "run", "new")
    (run / "model.json").write_text('{"variant": "new"}')
    publish_weights(run, tmp_path / "models")
    found = json.loads((tmp_path / "models" / "model.json").read_text())
    assert found == {"variant": "new", "weights_sha256": hashlib.sha256(b"new").hexdigest()}


def test_earlier_weights_are_kept_with_their_settings(tmp_path):
    target = model(tmp_path / "models", "old")
    os.utime(target / "model.json", (0, 0))
    publish_weights(model(tmp_path / "run", "new"), target)
    found = pairs(target)
    assert found.pop("model") == ("new", "new")
    assert list(found.values()) == [("old", "old")]


def test_several_of_one_second_are_all_kept(tmp_path):
    target = model(tmp_path / "models", "0")
    for number in range(1, 4):
        os.utime(target / "model.pt", (1, 1))
        publish_weights(model(tmp_path / f"run{number}", str(number)), target)
    assert sorted(pairs(target).values()) == [(str(n), str(n)) for n in range(4)]


@pytest.mark.parametrize("hard_links", [True, False])
def test_at_no_moment_are_there_no_weights(tmp_path, monkeypatch, hard_links):
    target, seen = model(tmp_path / "models", "old"), []

    def watched(real, *args, **kwargs):
        seen.append((target / "model.pt").read_text())
        real(*args, **kwargs)
        seen.append((target / "model.pt").read_text())

    def no_links(*args, **kwargs):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "replace", partial(watched, os.replace))
    monkeypatch.setattr(os, "rename", partial(watched, os.rename))
    monkeypatch.setattr(os, "link", partial(watched, os.link) if hard_links else no_links)
    publish_weights(model(tmp_path / "run", "new"), target)
    assert seen[0] == "old" and seen[-1] == "new" and len(seen) >= 8
    assert sorted(pairs(target).values()) == [("new", "new"), ("old", "old")]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "model.json").unlink(), "no settings model.json"),
        (lambda run: (run / "model.pt").write_text("of another epoch"), "do not belong together"),
        (lambda run: (run / "model.json").write_text("{"), "no JSON"),
    ],
    ids=["no settings", "of other weights", "spoilt settings"],
)
def test_an_incomplete_run_changes_nothing(tmp_path, spoil, message):
    target, run = model(tmp_path / "models", "old"), model(tmp_path / "run", "new")
    spoil(run)
    with pytest.raises(ValueError, match=message):
        publish_weights(run, target)
    assert [path.name for path in sorted(target.iterdir())] == ["model.json", "model.pt"]
    assert pairs(target) == {"model": ("old", "old")}


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    target, run = model(tmp_path / "models", "old"), model(tmp_path / "run", "new")

    def full(source, place):
        Path(place).write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError):
        publish_weights(run, target)
    assert pairs(target) == {"model": ("old", "old")}
    assert not list(target.glob(".*part*"))


@pytest.mark.parametrize("number", [1, 2])
def test_killed_between_any_two_steps_it_is_done_again_and_every_pair_is_whole(tmp_path, monkeypatch, number):
    class Killed(BaseException):
        pass

    target, run, calls = model(tmp_path / "models", "old"), model(tmp_path / "run", "new"), []

    def kill(source, place):
        calls.append(place)
        if len(calls) == number:
            raise Killed
        return replace(source, place)

    replace = os.replace
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        publish_weights(run, target)
    publish_weights(run, target)
    assert sorted(set(pairs(target).values())) == [("new", "new"), ("old", "old")]
    assert pairs(target)["model"] == ("new", "new")


def test_a_run_without_weights_moves_nothing_and_says_so(tmp_path, caplog):
    target = model(tmp_path / "models", "old")
    (tmp_path / "run").mkdir()
    assert publish_weights(tmp_path / "run", target) is None
    assert pairs(target) == {"model": ("old", "old")}
    assert "holds no weights" in caplog.text


def test_the_same_pair_again_is_nothing_to_do(tmp_path):
    run, target = model(tmp_path / "run", "new"), tmp_path / "models"
    for _ in range(2):
        publish_weights(run, target)
    (run / ".published").unlink()
    publish_weights(run, target)
    assert list(pairs(target)) == ["model"]


def test_a_finished_run_that_is_resumed_does_not_push_away_a_later_one(tmp_path):
    first, second, target = model(tmp_path / "1", "first"), model(tmp_path / "2", "second"), tmp_path / "models"
    for run in (first, second, first):
        publish_weights(run, target)
    assert pairs(target)["model"] == ("second", "second")
    publish_weights(model(first, "first-better"), target)
    assert pairs(target)["model"] == ("first-better", "first-better")
    for end in ("pt", "json"):
        (target / f"model.{end}").unlink()
    publish_weights(first, target)
    assert pairs(target)["model"] == ("first-better", "first-better")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trained_on": "isic"}, "trained on demo, now isic"),
        ({"class_names": ["a", "b"]}, r"classes ['x', 'y'], now ['a', 'b']"),
        ({"spatial_dims": 3}, "dimensions 2, now 3"),
    ],
)
def test_weights_for_something_else_are_a_warning_that_names_the_way_back(tmp_path, caplog, changes, said):
    settings = {"class_names": ["x", "y"], "spatial_dims": 2}
    target = model(tmp_path / "models", "old", **settings)
    with caplog.at_level(logging.INFO):
        publish_weights(model(tmp_path / "run", "new", **{**settings, **changes}), target)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    kept = next(path for path in target.glob("model_*.pt"))
    assert said in record.getMessage() and f"--ckpt_path {kept}" in record.getMessage()


def test_more_of_the_same_is_one_line_and_no_warning(tmp_path, caplog):
    target = model(tmp_path / "models", "old")
    with caplog.at_level(logging.INFO):
        publish_weights(model(tmp_path / "run", "new"), target)
    (record,) = caplog.records
    assert record.levelno == logging.INFO and "trained on demo" in record.getMessage()


def test_links_are_replaced_and_not_followed(tmp_path):
    elsewhere = model(tmp_path / "elsewhere", "shared")
    target = tmp_path / "models"
    target.mkdir()
    for name in ("model.pt", "model.json"):
        (target / name).symlink_to(elsewhere / name)
    publish_weights(model(tmp_path / "run", "new"), target)
    assert pairs(elsewhere) == {"model": ("shared", "shared")}
    assert sorted(pairs(target).values()) == [("new", "new"), ("shared", "shared")]
    assert not (target / "model.pt").is_symlink()


def test_many_that_end_together_are_all_kept_as_pairs(tmp_path):
    runs = [model(tmp_path / f"run{number}", f"weights-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: publish_weights(run, tmp_path / "models"), runs))
    found = pairs(tmp_path / "models")
    assert sorted(found.values()) == [(f"weights-{number}",) * 2 for number in range(8)]
