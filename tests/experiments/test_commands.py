"""Every experiment is a command of the package: its help names it, a wrong word is a line, nothing else is printed."""

from __future__ import annotations

import importlib

import pytest

COMMANDS = (
    "ablate",
    "compare",
    "fusion_downstream",
    "pack_weights",
    "pixel_baseline",
    "prepare_data",
    "record_domain",
    "robustness",
    "tune",
)


def run(name: str, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"medssm_monai.experiments.{name}").main(list(words))
    return ended.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_command_as_it_is_typed(name: str, capsys) -> None:
    assert run(name, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.split()[:4] == ["usage:", "python", "-m", f"medssm_monai.experiments.{name}"]
    assert shown.count(f"    python -m medssm_monai.experiments.{name} ") >= 1  # an example
    assert "Exit status: 0" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_a_word_that_is_no_option_is_refused(name: str, capsys) -> None:
    assert run(name, "--no-such-option") == 2
    shown = capsys.readouterr()
    assert not shown.out and "error" in shown.err
