"""A page for each config of each bundle, key by key: name, default, and the comment that stands beside it in the file.

Everything on these pages is read from the YAML when the site is built; a key without a comment has none here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from site_map import BUNDLES, CONFIGS, DOCS, GENERATED, ROOT, write_if_changed

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SECTION = re.compile(r"^# -{2,} (.*?) -{2,}$")
COMMENT = re.compile(r"\s#\s?(.*)$")


@dataclass(frozen=True)
class Key:
    """A key of a config.

    Attributes:
        name: as it is given on the command line, ``train#dataloader#num_workers``.
        default: its value as the file has it; of a list of components their names.
        comment: what stands beside it; empty where nothing does.
    """

    name: str
    default: str
    comment: str


@dataclass(frozen=True)
class Section:
    """Keys below one heading of the file; ``title`` is empty above the first."""

    title: str
    keys: list[Key]


def read_config(path: Path) -> tuple[str, list[Section]]:
    """Comment at the head of a config, and its keys in the sections of the file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    head: list[str] = []
    for line in lines:
        if not line.startswith("#") or SECTION.match(line):
            break
        head.append(line.removeprefix("#").removeprefix(" "))
    headings = {number: match.group(1) for number, line in enumerate(lines) if (match := SECTION.match(line))}
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    sections = [Section("", [])]
    for key, value in root.value:
        title = next((headings[n] for n in sorted(headings, reverse=True) if n < key.start_mark.line), "")
        if title != sections[-1].title:
            sections.append(Section(title, []))
        sections[-1].keys.extend(_keys(key, value, "", lines))
    return "\n".join(head).strip("\n"), [section for section in sections if section.keys]


def _keys(key: Any, value: Any, above: str, lines: list[str]) -> Iterator[Key]:
    name = above + key.value
    if not isinstance(value, yaml.MappingNode) or value.flow_style:
        yield Key(name, _shown(value), _comment(key, value, lines))
        return
    target = next((v.value for k, v in value.value if k.value == "_target_"), "")
    yield Key(name, target and f"{target}(…)", _comment(key, value, lines))
    for inner, node in value.value:
        if inner.value == "_target_":  # its name stands in the row above; what is said of it is said here
            if comment := _comment(inner, node, lines):
                yield Key(f"{name}#_target_", node.value, comment)
        else:
            yield from _keys(inner, node, f"{name}#", lines)


def _comment(key: Any, value: Any, lines: list[str]) -> str:
    """What follows ``#`` in the line in which the value ends, of blocks in the line of the key."""
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    mark = key.end_mark if block else value.end_mark
    found = COMMENT.search(" " + lines[mark.line][mark.column :]) if mark.line < len(lines) else None
    return found.group(1).strip() if found else ""


def _shown(value: Any) -> str:
    if isinstance(value, yaml.ScalarNode):
        return value.value
    if value.flow_style:
        return _flow(value)
    return ", ".join(_name(node) for node in value.value)


def _flow(value: Any) -> str:
    if isinstance(value, yaml.MappingNode):
        return "{" + ", ".join(f"{k.value}: {_flow(v)}" for k, v in value.value) + "}"
    if isinstance(value, yaml.SequenceNode):
        return "[" + ", ".join(_flow(v) for v in value.value) + "]"
    return value.value


def _name(node: Any) -> str:
    """Item of a list: of a component the last part of its name."""
    if isinstance(node, yaml.MappingNode):
        target = next((v.value for k, v in node.value if k.value == "_target_"), None)
        return target.rpartition(".")[2] if target else _flow(node)
    return _flow(node)


def page_of(name: str, kind: str) -> str:
    """Markdown of the page of one config."""
    head, sections = read_config(ROOT / "bundles" / name / "configs" / f"{kind}.yaml")
    out = [f"# {name}: {kind}.yaml", "", "```text", head, "```", ""]
    for section in sections:
        if section.title:
            out += [f"## {section.title[0].upper()}{section.title[1:]}", ""]
        out += ["```{rst-class} keys", "```", "", "| key | default | what the file says |", "|---|---|---|"]
        out += [f"| `{key.name}` | {_code(key.default)} | {_text(key.comment)} |" for key in section.keys]
        out.append("")
    return "\n".join(out)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|").replace("\n", " ") if text else ""


def _text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|$#])", r"\\\1", text)


def write_pages(app: Sphinx, config: Any) -> None:
    for name in BUNDLES:
        for kind in CONFIGS:
            write_if_changed(DOCS / GENERATED / "keys" / f"{name}_{kind}.md", page_of(name, kind))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
