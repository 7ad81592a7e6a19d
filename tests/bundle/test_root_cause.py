from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medssm_monai.utils import root_cause, unwrapped

FAILING = """
from medssm_monai.utils import show_root_cause
show_root_cause()
show_root_cause()
from monai.bundle import ConfigParser
ConfigParser({"number": "$int('seven')"}).get_parsed_content("number")
"""


def fails(text: str) -> None:
    int(text)


def explains(text: str) -> None:
    try:
        fails(text)
    except ValueError as error:
        raise RuntimeError("give a number, for example 7") from error


def refuses(text: str) -> None:
    try:
        fails(text)
    except ValueError as error:
        raise KeyError(text) from error


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (fails, ValueError, "invalid literal"),
        (explains, RuntimeError, "give a number"),  # a RuntimeError with a cause that is not MONAI's: a message itself
        (refuses, KeyError, "seven"),
    ],
)
@pytest.mark.parametrize("wrappers", ["none", "expression", "transforms", "expression in expression"])
def test_root_cause_is_the_first_error_that_is_not_monais_wrapper(function, kind, message, wrappers):
    inner = {"value": "$@function('seven')", "function": function}
    run = {
        "none": lambda: function("seven"),
        "expression": lambda: ConfigParser(inner).get_parsed_content("value"),
        "transforms": lambda: Compose([function])("seven"),
        "expression in expression": lambda: ConfigParser(inner | {"outer": "$@value + 1"}).get_parsed_content("outer"),
    }[wrappers]
    with pytest.raises(Exception) as raised:
        run()
    assert type(raised.value) is (kind if wrappers == "none" else RuntimeError)
    cause = root_cause(raised.value)
    assert type(cause) is kind
    assert message in str(cause)
    with pytest.raises(kind) as seen, unwrapped():
        run()
    assert message in str(seen.value)


def test_runtime_error_of_monai_without_a_cause_is_the_cause():
    error = RuntimeError("alone")
    assert root_cause(error) is error


@pytest.mark.parametrize("wanted", [None, "0", "1"])
def test_an_error_shows_its_cause_and_the_traceback_on_request(wanted):
    root = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "MEDSSM_TRACEBACK"}
    environment |= {} if wanted is None else {"MEDSSM_TRACEBACK": wanted}
    done = subprocess.run(
        [sys.executable, "-c", FAILING], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    cause = "What went wrong: ValueError: invalid literal for int() with base 10: 'seven'"
    if wanted == "1":
        assert "Traceback" in done.stderr
        assert done.stderr.rstrip().endswith(cause)
    else:
        request = "(Set MEDSSM_TRACEBACK=1 to see where in the program.)"
        assert done.stderr.strip().splitlines() == [request, "", cause]
