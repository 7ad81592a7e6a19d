"""Sites of a federation that start in one second, in one folder, get different run names."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from monai.bundle import ConfigWorkflow
from monai.fl.client import BaseClient

from medssm_monai.bundle import site_run_name

CONFIG = """
imports: ["$import medssm_monai", "$import medssm_monai.utils"]
output_dir: null
run_name: noname_20260101_000000
resume_from: null
prefix: ""
kept_name: "$medssm_monai.bundle.site_run_name(@output_dir, @run_name, @resume_from, @prefix)"
initialize: ["$@kept_name"]
"""


class Site(BaseClient):
    """What of MONAI's client concerns names: a workflow, initialized twice."""

    def __init__(self, config, output_dir, **options):
        options["output_dir"] = str(output_dir)
        self.workflow = ConfigWorkflow(str(config), workflow_type=None, logging_file=False, **options)

    def names(self):
        return [self.workflow.initialize()[0] for _ in range(2)]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    (tmp_path / "metadata.json").write_text("{}")
    return path


def expected(count):
    return {"noname_20260101_000000", *(f"noname_20260101_000000_{number}" for number in range(2, count + 1))}


def start(together, config, output_dir):
    site = Site(config, output_dir)
    together.wait()
    return site.names()


def in_threads(count, config, output_dir):
    together = Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: start(together, config, output_dir), range(count)))


def in_processes(count, config, output_dir):
    context = multiprocessing.get_context()
    together, results = context.Barrier(count), context.SimpleQueue()
    sites = [context.Process(target=report, args=(results, together, config, output_dir)) for _ in range(count)]
    for site in sites:
        site.start()
    for site in sites:
        site.join()
    return [results.get() for _ in sites]


def report(results, *arguments):
    results.put(start(*arguments))


@pytest.mark.parametrize("sites", [in_processes, in_threads])
def test_sites_that_start_together_have_names_and_folders_of_their_own(config, tmp_path, sites):
    found = sites(6, config, tmp_path / "eval")
    assert all(first == again for first, again in found)
    assert {first for first, _ in found} == expected(6) == set(os.listdir(tmp_path / "eval"))


def test_an_evaluation_does_not_share_the_folder_of_its_training(config, tmp_path):
    train, evaluate = Site(config, tmp_path), Site(config, tmp_path, prefix="evaluate_")
    assert [train.names()[0], evaluate.names()[0]] == ["noname_20260101_000000", "evaluate_noname_20260101_000000"]


@pytest.mark.parametrize("options", [{"resume_from": "somewhere/x"}, {"prefix": "evaluate_"}])
def test_elsewhere_and_resumed_the_name_is_taken_as_it_is(config, tmp_path, options):
    site = Site(config, tmp_path / "eval", **options)
    name = site.names()[0] if "resume_from" in options else site.workflow.initialize()[0]
    assert name == "noname_20260101_000000"
    assert not (tmp_path / "eval").exists()


def test_other_processes_of_a_training_claim_nothing(config, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert Site(config, tmp_path / "eval").names()[0] == "noname_20260101_000000"
    assert not (tmp_path / "eval").exists()


def test_a_folder_that_cannot_be_written_is_named(config, tmp_path):
    (tmp_path / "eval").write_text("a file")
    with pytest.raises(RuntimeError) as raised:
        Site(config, tmp_path / "eval").names()
    cause = raised.value
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert isinstance(cause, PermissionError) and "--output_dir" in str(cause)


def test_outside_of_a_federation_nothing_is_made(tmp_path):
    assert site_run_name(tmp_path / "eval", "x", prefix="evaluate_") == "x"
    assert not (tmp_path / "eval").exists()
