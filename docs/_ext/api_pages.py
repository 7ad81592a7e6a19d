"""A page for each room of the package: its docstring, a table of its public names, and what each of them says."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import types
from typing import Any

from site_map import DOCS, GENERATED, ROOMS, write_if_changed
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer


def page_of(room: str) -> str:
    """reStructuredText of the page of a room."""
    name = f"medssm_monai.{room}"
    module = importlib.import_module(name)
    out = [
        name,
        "=" * len(name),
        "",
        f".. automodule:: {name}",
        "   :no-members:",
        "",
        f".. currentmodule:: {name}",
        "",
    ]
    public = list(getattr(module, "__all__", []))
    if not public:
        return "\n".join(out + _submodules(module))
    first = {}  # names that are one object: the one that the object itself has comes first
    for word in public:
        first.setdefault(id(getattr(module, word)), []).append(word)
    groups = [_sorted(words, getattr(module, words[0])) for words in first.values()]
    named = [words[0] for words in groups if _is_described(getattr(module, words[0]))]
    out += [".. autosummary::", "   :nosignatures:", ""] + [f"   {word}" for word in named] + [""]
    for words in groups:
        out += _entry(module, words)
    return "\n".join(out)


def _sorted(words: list[str], item: Any) -> list[str]:
    own = getattr(item, "__name__", None)
    return sorted(words, key=lambda word: word != own)


def _entry(module: Any, words: list[str]) -> list[str]:
    word, item = words[0], getattr(module, words[0])
    title = [word, "-" * len(word), ""]
    if inspect.isclass(item) and _is_described(item):
        body = [f".. autoclass:: {word}", "   :members:", ""]
    elif _is_described(item):
        body = [f".. autofunction:: {word}", ""]
    else:
        body = [f".. data:: {word}", ""] + [f"   {line}".rstrip() for line in _said_of(module, word)] + [""]
    if len(words) > 1:
        body += ["The same under other names: " + ", ".join(f"``{other}``" for other in words[1:]) + ".", ""]
    return title + body


def _is_described(item: Any) -> bool:
    """Whether an object has a docstring of its own: a class or function, not a constant or the name of a type."""
    return inspect.isroutine(item) or inspect.isclass(item) and not isinstance(item, types.GenericAlias)


def _said_of(module: Any, word: str) -> list[str]:
    """Text below a constant in the module that defines it: the objects themselves have that of their types."""
    tree = ast.parse(inspect.getsource(module))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    place = next(node.module for node in imports if word in [alias.name for alias in node.names])
    analyzer = ModuleAnalyzer.for_module(f"{module.__name__}.{place}")
    return analyzer.find_attr_docs().get(("", word), [])


def _submodules(module: Any) -> list[str]:
    """Commands of a room that has no public names."""
    out: list[str] = []
    for info in pkgutil.iter_modules(module.__path__):
        name = f"{module.__name__}.{info.name}"
        if hasattr(importlib.import_module(name), "main"):
            out += [
                info.name,
                "-" * len(info.name),
                "",
                f".. automodule:: {name}",
                "   :no-members:",
                "   :no-index:",
                "",
            ]
    return out


def write_pages(app: Sphinx, config: Any) -> None:
    for room in ROOMS:
        write_if_changed(DOCS / GENERATED / "api" / f"{room.replace('.', '_')}.rst", page_of(room))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
