"""Params of requests: taken, or refused by name."""

from __future__ import annotations

import json
import threading
from collections import deque

import pytest

from medssm_monai.apps.label.json_values import json_object, storable, unchanging
from medssm_monai.apps.label.options import Limits
from medssm_monai.apps.label.params import (
    infer_params,
    info_params,
    sample_params,
    scoring_params,
    session_expiry,
    train_params,
)

SLICER = {"client_id": "user", "weights": "model.pt", "result_extension": ".nrrd", "result_dtype": "uint8"}
OHIF = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False, "restore_label_idx": False}
LIMITS = Limits(max_epochs=50, max_samples=16)


@pytest.mark.parametrize(
    "params", [{}, SLICER, OHIF, {"client_id": None}, {"save_label": True, "label_tag": "original"}]
)
@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_what_clients_send_is_taken(kind, params):
    assert infer_params(kind, params, echoed=["weights"]) == params


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("segmentation", {"treshold": 0.3}, "there is no treshold; there are .*threshold"),
        ("segmentation", {"weights": "x"}, "there is no weights"),
        ("segmentation", {"threshold": 0}, "threshold must be a number above 0 and below 1, got '0'"),
        ("segmentation", {"threshold": "0.5"}, "threshold must be"),
        ("segmentation", {"threshold": True}, "threshold must be"),
        ("segmentation", {"threshold": float("nan")}, "threshold must be"),
        ("segmentation", {"result_extension": ".mha"}, "one of .png, .nii, .nii.gz, .nrrd"),
        ("segmentation", {"result_extension": ["x"]}, "result_extension must be"),
        ("segmentation", {"image": "/etc/passwd"}, "image must be a name"),
        ("segmentation", {"label_tag": "../x"}, "label_tag must be a name"),
        ("segmentation", {"image_b": "x"}, "there is no image_b"),
        ("segmentation", {"_deadline": 1e300}, "there is no _deadline"),
        ("segmentation", {"max_workers": 5}, "there is no max_workers"),
        ("classification", {"threshold": 0.3}, "there is no threshold"),
        ("fusion", {"image_b": "../x"}, "image_b must be a name"),
        ("fusion", {"result_dtype": "uint8"}, "there is no result_dtype"),
    ],
)
def test_other_params_of_an_inference_are_refused(kind, params, message):
    with pytest.raises(ValueError, match=message):
        infer_params(kind, params)


def test_a_batch_takes_what_monai_label_sends_by_default():
    sent = {"device": "cuda", "multi_gpu": True, "gpus": "all", "logging": "WARNING", "save_label": True}
    sent |= {"label_tag": "original", "max_workers": 1, "max_batch_size": 0}
    assert infer_params("segmentation", sent, batch=True) == sent


@pytest.mark.parametrize(
    ("check", "params", "message"),
    [
        (train_params, {"max_epochs": 51}, "max_epochs must be a whole number from 1 to 50, got '51'"),
        (train_params, {"max_epochs": 0}, "max_epochs must be"),
        (train_params, {"max_epochs": 1.5}, "max_epochs must be"),
        (train_params, {"max_epochs": True}, "max_epochs must be"),
        (train_params, {"batch_size": 10**6}, "batch_size must be"),
        (train_params, {"val_split": 1}, "val_split must be"),
        (train_params, {"overrides": [1]}, "overrides must be an object"),
        (train_params, {"overrides": {"max_epochs": 10**6}}, "give max_epochs beside overrides"),
        (train_params, {"learning_rate": 1e-3}, "there is no learning_rate"),
        (scoring_params, {"simulation_size": 17}, "simulation_size must be a whole number from 2 to 16"),
        (scoring_params, {"simulation_size": 1}, "simulation_size must be"),
        (scoring_params, {"dropout": 1.0}, "dropout must be"),
        (scoring_params, {"max_samples": -1}, "max_samples must be"),
    ],
)
def test_what_a_task_may_cost_is_limited(check, params, message):
    with pytest.raises(ValueError, match=message):
        check(params, LIMITS)


def test_tasks_take_their_defaults_back():
    """3D Slicer sends what ``/info`` said."""
    config = {"max_epochs": 20, "batch_size": 4, "val_split": 0.2, "from_scratch": False, "overrides": {}}
    assert train_params({**config, "client_id": "u"}, LIMITS) == {**config, "client_id": "u"}
    assert sample_params({"client_id": None}) == {"client_id": None}
    with pytest.raises(ValueError, match="there is no strategy"):
        sample_params({"strategy": "x"})


@pytest.mark.parametrize(
    "key", ["strategy", "ts", "name", "path", "mamba_mis_epistemic", "mamba_mis_epistemic_weights"]
)
def test_what_the_server_keeps(key):
    with pytest.raises(ValueError, match=f"{key} is kept by the server"):
        info_params({key: 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("[" * 100_000, "is no JSON|may have"),
        ('{"a": NaN}', "NaN and infinity"),
        ('{"a": [1e999]}', "NaN and infinity"),
        (r'{"a": "\ud800"}', "no Unicode"),
        (r'{"\ud800": 1}', "no Unicode"),
        ('{"a":' * 30 + "1" + "}" * 30, "no more than 20"),
        ('{"a": ' + "1" * 6000 + "}", "is no JSON|may have"),
        (json.dumps({"a": "x" * 200_000}), "may have 200000 characters"),
    ],
)
def test_json_that_cannot_be_kept(text, message):
    with pytest.raises(ValueError, match=message):
        json_object(text, "params", 200_000)


def test_json_that_can():
    value = {"a": [1, 2.5, None, True, "größe 𝄞"], "b": {"c": {}}}
    assert json_object(json.dumps(value), "params", 1000) == value
    assert json_object("", "params", 10) == json_object(None, "params", 10) == {}
    assert storable(value, "params") is value


def test_answers_do_not_change_while_they_are_sent():
    """A task as MONAI Label keeps it: its output goes on while somebody asks for it."""
    task = {"status": "SUBMITTED", "details": deque(maxlen=20), "request": {"gpus": ["all"]}}
    answer = unchanging([task])
    task["status"], task["request"]["gpus"][0] = "RUNNING", "0"
    task["details"].append("a line")
    assert answer == [{"status": "SUBMITTED", "details": [], "request": {"gpus": ["all"]}}]

    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            task["details"].append(str(number))
            task[f"entry {number % 50}"] = number
            task.pop(f"entry {(number + 25) % 50}", None)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5000):
            assert json.loads(json.dumps(unchanging(task)))["status"] == "RUNNING"
    finally:
        ended.set()
        writer.join()


@pytest.mark.parametrize("seconds", [-1, 10**12])
def test_sessions_are_kept_for_a_week_at_most(seconds):
    assert session_expiry(0) == 0 and session_expiry(604800) == 604800
    with pytest.raises(ValueError, match="expiry must be a whole number of seconds from 0 to 604800"):
        session_expiry(seconds)
