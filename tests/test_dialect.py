"""The package is written in one dialect, as far as no rule of ruff holds it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medssm_monai"
ALONE = PACKAGE / "apps" / "label" / "main.py"  # MONAI Label reads a copy of it in the folder of an app
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != ALONE)
ROLE_OR_CODE = re.compile(r":[a-z:]+:`[^`]+`|``.+?``", re.DOTALL)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def absolute_imports(tree: ast.AST) -> Iterator[int]:
    """Lines that import the package by its name."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if any(name.split(".")[0] == PACKAGE.name for name in names):
            yield node.lineno


def single_backticks(tree: ast.AST) -> Iterator[str]:
    """Docstrings in which a backtick is left beside code and roles."""
    for node in ast.walk(tree):
        text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
        if text and "`" in ROLE_OR_CODE.sub("", text):
            yield text.splitlines()[0]


@pytest.mark.parametrize("find", [absolute_imports, single_backticks])
def test_package_keeps_to_the_dialect(find):
    found = [(str(path.relative_to(PACKAGE)), place) for path in FILES for place in find(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    ("text", "find", "found"),
    [
        ("from .data import read\nimport medssm\n", absolute_imports, []),
        ("import torch, medssm_monai.ops\n", absolute_imports, [1]),
        ("def read():\n    from medssm_monai import data\n", absolute_imports, [2]),
        ('"""A ``list`` of :class:`Item`\nand :func:`~.read`."""\n', single_backticks, []),
        ('class Item:\n    """A `list`."""\n', single_backticks, ["A `list`."]),
    ],
)
def test_what_breaks_the_dialect_is_found(text, find, found):
    assert list(find(ast.parse(text))) == found
