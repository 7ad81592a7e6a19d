"""Where bundles are looked for."""

from __future__ import annotations

import os

import pytest

import medssm_monai
from medssm_monai.bundle import find as bundles
from medssm_monai.bundle.find import find_bundle, list_bundles


def _bundle(folder):
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text("a: 1\n")
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder named by the variable, a checkout, and the current folder."""
    named, checkout, here = tmp_path / "named", tmp_path / "checkout", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("MEDSSM_BUNDLES", os.pathsep.join([str(tmp_path / "empty"), str(named)]))
    monkeypatch.setattr(bundles, "CHECKOUT", checkout)
    return named, checkout / "bundles", here


def test_what_came_with_the_package_replaces_the_folder_beside_it(places, tmp_path, monkeypatch):
    _, checkout, _ = places
    _bundle(checkout / "net")
    monkeypatch.setattr(bundles, "INSTALLED", tmp_path / "package" / "bundles")
    installed = _bundle(tmp_path / "package" / "bundles" / "net")
    _bundle(checkout / "other")  # of somebody else: site-packages/bundles
    assert list_bundles() == {"net": installed}


def test_name_is_looked_for_in_this_order(places):
    named, checkout, _ = places
    for place in (checkout, named):
        _bundle(place / "net")
        assert find_bundle("net") == place / "net"
    _bundle(checkout / "other")
    assert list_bundles() == {"net": named / "net", "other": checkout / "other"}


PLANTED = """
imports: ["$open('planted', 'w').close()"]
device: cpu
prediction: "$open('planted', 'w').close()"
"""


@pytest.mark.parametrize("place", ["", "bundles/"])
def test_a_bundle_in_the_current_folder_is_run_only_when_it_is_named_there(places, place):
    named, _, here = places
    root = _bundle(here / f"{place}mamba_mis")
    (root / "configs" / "inference.yaml").write_text(PLANTED)
    for finder in (find_bundle, medssm_monai.load):
        with pytest.raises(FileNotFoundError, match="no bundle 'mamba_mis' in"):
            finder("mamba_mis")
    assert "mamba_mis" not in list_bundles()
    _bundle(named / "mamba_mis")
    assert find_bundle("mamba_mis") == named / "mamba_mis"
    assert find_bundle(f"./{place}mamba_mis") == root
    assert not (here / "planted").exists()


def test_the_commands_do_not_look_into_the_current_folder(places):
    from medssm_monai.export.__main__ import main

    root = _bundle(places[2] / "bundles" / "planted")
    (root / "configs" / "inference.yaml").write_text(PLANTED)
    assert main(["planted", "--formats", "torchscript"]) == 2
    assert not (places[2] / "planted").exists()


def test_unknown_name_says_where_it_looked_and_what_is_there(places):
    _bundle(places[1] / "net")
    with pytest.raises(FileNotFoundError, match="MEDSSM_BUNDLES") as raised:
        medssm_monai.load("nett")
    assert all(str(place) in str(raised.value) for place in places[:2])
    assert "found there: net." in str(raised.value)


def test_folder_is_taken_as_it_is(places, tmp_path):
    root = _bundle(tmp_path / "elsewhere" / "net")
    assert find_bundle(root) == find_bundle(str(root)) == find_bundle("../elsewhere/net").resolve() == root
    with pytest.raises(FileNotFoundError, match="no configs/inference.yaml in .*nowhere"):
        find_bundle(tmp_path / "nowhere")


def test_the_four_bundles_of_the_checkout_have_a_task():
    kinds = {name: medssm_monai.load(name).kind for name in ("mamba_mis", "medconvmamba", "medspectralnet")}
    assert kinds == {
        "mamba_mis": "segmentation",
        "medconvmamba": "classification",
        "medspectralnet": "classification",
    }
    assert medssm_monai.load("clinical_fmamba").kind == "fusion"


def test_bundle_without_task_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no key 'prediction'"):
        medssm_monai.load(_bundle(tmp_path / "net"))
