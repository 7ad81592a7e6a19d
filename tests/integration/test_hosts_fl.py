"""MONAI's federated client with every bundle: two sites in one folder, two rounds, and ``run`` is never called."""

from __future__ import annotations

import shutil

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

from medssm_monai.bundle import write_model_settings

from ..bundles.bundle_runs import BUNDLES
from ..thorough import first_of

pytestmark = pytest.mark.integration

ROUNDS = 2
FILES = ["model.pt", "model.json", "history.csv", "curves.png", "validation", "checkpoint_epoch=2.pt"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder is neither the bundle's nor the repository's, as with a host."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def make_site(bundle, place, seed):
    """A client as FLARE makes it: the bundle within the application's folder, known to the workflow afterwards."""
    network = {key: value for key, value in bundle.tiny.items() if key != "max_epochs"}
    shared = {**network, "output_dir": f"$'{(place / 'out').as_posix()}'"}
    site = MonaiAlgo(
        bundle_root=f"app/{bundle.name}",
        config_train_filename="configs/train.yaml",
        train_kwargs={**shared, "ckpt_dir": str(place / "models"), "seed": seed},
        config_evaluate_filename=["configs/train.yaml", "configs/evaluate.yaml"],
        eval_kwargs={**shared, "ckpt_path": str(place / "global.pt")},
        send_weight_diff=False,
    )
    site.initialize({ExtraItems.APP_ROOT: str(place)})  # no client name: both sites are called the same
    return site


def weights_of(site):
    return {key: value.clone() for key, value in site.get_weights().weights.items()}


def mean(first, second):
    return {key: ((first[key].double() + second[key].double()) / 2).to(first[key].dtype) for key in first}


def change(first, second):
    return max(float((first[key].double() - second[key].double()).abs().max()) for key in first)


@pytest.mark.parametrize("bundle", first_of(BUNDLES), ids=str)
def test_two_sites_train_two_rounds_and_give_our_own_figures(bundle, place):
    root = place / "app" / bundle.name
    shutil.copytree(bundle.folder, root, ignore=shutil.ignore_patterns("eval", "trained"))
    before = sorted(root.rglob("*"))
    sites = [make_site(bundle, place, seed) for seed in (1, 2)]
    assert {site.train_workflow.bundle_root for site in sites} == {str(root)}
    together = weights_of(sites[0])
    for _ in range(ROUNDS):
        for site in sites:
            site.train(ExchangeObject(weights=together))
        own = [weights_of(site) for site in sites]
        assert min(change(together, weights) for weights in own) > 1e-5
        assert change(*own) > 1e-5
        together = mean(*own)
        found = [site.evaluate(ExchangeObject(weights=together)).metrics for site in sites]
    assert [site.trainer.state.epoch for site in sites] == [ROUNDS, ROUNDS]
    for site in sites:
        site.finalize()

    assert sorted(root.rglob("*")) == before
    assert not (place / "models" / "model.pt").exists()  # only a command publishes
    folders = sorted(path for path in (place / "out").iterdir() if "noname" in path.name)
    trained = [path for path in folders if not path.name.startswith("evaluate_")]
    assert len(folders) == 4 and len(trained) == 2
    for path in trained:
        assert all((path / name).exists() for name in FILES), sorted(path.iterdir())
    reports = [path / "report.md" for path in folders if path not in trained]
    assert all("sent by the federation's server" in report.read_text() for report in reports)

    torch.save(together, place / "global.pt")
    write_model_settings(place / "global.pt", sites[0].train_workflow.parser.get_parsed_content("settings"))
    options = {key: value for key, value in bundle.tiny.items() if "demo" in key or key in ("batch_size", "device")}
    names = ("train.yaml", "evaluate.yaml")
    flow = bundle.run(names, place / "command", ckpt_path=str(place / "global.pt"), **options)
    expected = flow.evaluator.state.metrics
    for metrics in found:
        assert metrics.keys() == expected.keys()
        assert metrics == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
