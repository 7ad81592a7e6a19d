"""The run that a command began is found again by the same command, and by no other."""

from __future__ import annotations

import copy
import json
import logging

import pytest
from monai.bundle import ConfigParser

from medssm_monai.bundle import newest_run, note_run
from medssm_monai.bundle import run_records as records

CONFIG = {
    "dataset_dir": "patients/Doe_Jane",
    "output_dir": "eval",
    "run_name": "$'new'",
    "resume": False,
    "seed": 0,
    "max_epochs": 5,
    "train": {"dataloader": {"_target_": "monai.data.DataLoader", "batch_size": 4, "num_workers": 0}},
    "handlers": [{"patience": 3, "num_workers": 1}],
}


def parser(**changes):
    found = ConfigParser(copy.deepcopy(CONFIG))
    found.update(changes)
    return found


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin a run of a name, each one a second after the last."""
    seconds = iter(range(100, 200))
    monkeypatch.setattr(records.time, "time", lambda: float(next(seconds)))

    def at(name, **changes):
        (tmp_path / name).mkdir(exist_ok=True)
        note_run(tmp_path / name, parser(**changes))

    return at


def test_the_newest_run_of_the_same_settings_is_found(tmp_path, begin, caplog):
    assert newest_run(tmp_path, parser()) is None
    for name, changes in {"first": {}, "second": {}, "third": {"seed": 1}}.items():
        begin(name, **changes)
    with caplog.at_level(logging.INFO):
        assert newest_run(tmp_path, parser()) == tmp_path / "second"
    assert "goes on with the run second" in caplog.text
    begin("first")  # goes on, and is the newest from now on
    assert newest_run(tmp_path, parser()) == tmp_path / "first"
    assert newest_run(tmp_path, parser(seed=1)) == tmp_path / "third"


@pytest.mark.parametrize(
    "changes",
    [
        {"resume": True, "run_name": "first", "output_dir": "elsewhere"},
        {"max_epochs": 9, "device": "cuda:0", "verbose": True},
        {"train#dataloader#num_workers": 4},
        {"handlers#0#num_workers": 4},
    ],
    ids=str,
)
def test_what_may_change_from_start_to_start_is_not_compared(tmp_path, begin, changes):
    begin("first")
    assert newest_run(tmp_path, parser(**changes)) == tmp_path / "first"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed;"),
        ({"train#dataloader#batch_size": 8}, "train;"),
        ({"dataset_dir": "patients/Roe"}, "dataset_dir;"),
        ({"handlers#0#patience": 4}, "handlers;"),
        ({"learning_rate": 0.1}, "learning_rate;"),
        ({name: 1 for name in "abcdefg"}, "a, b, c, d, e and 2 more;"),
    ],
    ids=str,
)
def test_a_run_of_other_settings_is_passed_over_and_its_differences_named(tmp_path, begin, changes, named, caplog):
    begin("first")
    assert newest_run(tmp_path, parser(**changes)) is None
    assert f"first, has other values of {named} --run_name first" in caplog.text


def test_a_record_holds_no_values(tmp_path, begin):
    begin("run")
    text = (tmp_path / "run" / records.RECORD).read_text()
    assert "dataset_dir" in text and "Doe" not in text and "patients" not in text


@pytest.mark.parametrize("content", ["", "[]", '{"started": "x", "settings": {}}', '{"started": 1.0}'])
def test_what_is_no_record_is_named_and_left_out(tmp_path, begin, content, caplog):
    begin("good")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / records.RECORD).write_text(content)
    assert newest_run(tmp_path, parser()) == tmp_path / "good"
    assert "broken/.run.json is no record of a run" in caplog.text


def test_the_parser_that_asks_is_the_one_whose_settings_count(tmp_path):
    (tmp_path / "run").mkdir()
    place = json.dumps(str(tmp_path))
    calls = {"noted": f"$medssm_monai.bundle.note_run({place} + '/run')"}
    calls["found"] = f"$medssm_monai.bundle.newest_run({place})"
    asking = ConfigParser({"imports": ["$import medssm_monai", "$import medssm_monai.bundle"], "seed": 3, **calls})
    asking.get_parsed_content("noted")
    assert asking.get_parsed_content("found") == tmp_path / "run"


def test_without_a_config_there_is_nothing_to_compare(tmp_path):
    with pytest.raises(RuntimeError, match="give the parser"):
        newest_run(tmp_path)
