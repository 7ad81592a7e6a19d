"""The error texts on the page are those of the programs: whoever changes one changes the page."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from .extensions import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
FORMAT = re.compile(r"%[sdrif]|%\.\d+f")


@cache
def texts() -> frozenset[str]:
    """Every text of the programs, with ``…`` in place of what is filled in."""
    found = set()
    for folder in ("medssm_monai", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.add("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(FORMAT.sub("…", node.value))
    return frozenset(found)


def test_there_are_enough_entries():
    assert len(ENTRIES) >= 20 and len(ENTRIES) == len(set(ENTRIES))


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_text_is_one_of_the_programs(entry):
    fragment = entry.strip("… ")
    assert len(fragment) >= 10
    assert any(fragment in text for text in texts())


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_has_a_cause_and_a_remedy(entry):
    body = PAGE.split(f"### `{entry}`\n", 1)[1].split("\n#", 1)[0]
    assert len(body.split()) >= 12


def test_a_text_that_is_nowhere_would_be_noticed():
    assert not any("this sentence is printed by no program" in text for text in texts())
