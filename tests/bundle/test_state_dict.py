"""Weights of other programs load as the network's own."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn as nn

from medssm_monai.bundle import load_weights, start_from


def _network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))


def _prefixed(*prefixes):
    return lambda state: {f"{''.join(prefixes)}{key}": value for key, value in state.items()}


FORMS = {
    "as it is": (lambda state: state, None),
    "DataParallel": (_prefixed("module."), "'module'"),
    "compiled": (_prefixed("_orig_mod."), "'_orig_mod'"),
    "compiled, then parallel": (_prefixed("module.", "_orig_mod."), "'module'"),
    "parallel, then compiled": (_prefixed("_orig_mod.", "module."), "'_orig_mod'"),
    "a compiled layer": (lambda state: {k.replace("0.", "0._orig_mod."): v for k, v in state.items()}, "'_orig_mod'"),
    "Lightning": (lambda state: {"state_dict": state, "epoch": 3}, "'state_dict'"),
    "training state": (lambda state: {"model": state, "optimizer": {"lr": 1.0}}, "'model'"),
    "wrapped twice": (lambda state: {"state_dict": {"network": _prefixed("module.")(state)}}, "'network'"),
}


@pytest.mark.parametrize(("form", "said"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("load", [load_weights, start_from])
def test_what_stands_around_weights_is_taken_off(tmp_path, caplog, form, said, load):
    trained, network = _network(), _network()
    torch.save(form(trained.state_dict()), tmp_path / "model.pt")
    with caplog.at_level(logging.INFO):
        load(network, tmp_path / "model.pt")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), trained.parameters(), strict=True))
    lines = [record.getMessage() for record in caplog.records if "taken off" in record.getMessage()]
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]


def test_a_network_s_own_layer_of_that_name_stays(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.module, self.head = nn.Linear(2, 2), nn.Linear(2, 2)

    torch.save(Own().state_dict(), tmp_path / "model.pt")
    load_weights(Own(), tmp_path / "model.pt")


@pytest.mark.parametrize("settings", [True, False])
def test_one_line_when_settings_are_missing_or_wrong(tmp_path, settings):
    torch.save(_network(width=6).state_dict(), tmp_path / "moved.pt")
    if settings:
        (tmp_path / "moved.json").write_text("{}")
    said = "Restore the settings file" if settings else "moved.pt: there is no moved.json beside it.*copy it along"
    with pytest.raises(ValueError, match=said) as raised:
        load_weights(_network(), tmp_path / "moved.pt")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
