"""The reference of the configs: no key is missing, and nothing is said that the file does not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from .extensions import ROOT, extension

config_keys = extension("config_keys")
CONFIGS = sorted(
    path for name in ("train", "evaluate", "inference") for path in ROOT.glob(f"bundles/*/configs/{name}.yaml")
)


def shown(path: Path) -> str:
    return f"{path.parents[1].name}-{path.stem}"


def rows(path: Path) -> dict:
    return {key.name: key for section in config_keys.read_config(path)[1] for key in section.keys}


def test_all_configs_are_looked_at():
    assert len(CONFIGS) == 12


@pytest.mark.parametrize("path", CONFIGS, ids=shown)
def test_every_top_level_key_is_there_once_and_in_order(path):
    sections = config_keys.read_config(path)[1]
    names = [key.name for section in sections for key in section.keys]
    wanted = list(yaml.safe_load(path.read_text(encoding="utf-8")))  # those of overlays may have a # themselves
    assert [name for name in names if name in wanted] == wanted
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", CONFIGS, ids=shown)
def test_every_key_is_one_that_monai_finds(path):
    before = [str(path.with_name("train.yaml"))] if path.stem == "evaluate" else []
    parser = ConfigParser()
    parser.read_config([*before, str(path)])
    names = rows(path)
    assert len(names) > 10
    assert [name for name in names if parser.get(name, "missing") == "missing"] == []


@pytest.mark.parametrize("path", CONFIGS, ids=shown)
def test_comments_of_plain_lines_are_those_of_the_file(path):
    found = rows(path)
    plain = re.compile(r"^(\w+): +(?![\"'{\[|>])([^#\s][^#\n]*?)(?: +# (.*))?$", re.MULTILINE)
    lines = plain.findall(path.read_text(encoding="utf-8"))
    assert len(lines) >= 4
    assert {name: found[name].comment for name, _, _ in lines} == {name: comment for name, _, comment in lines}
    assert {name: found[name].default for name, _, _ in lines} == {name: value for name, value, _ in lines}


def test_nothing_is_said_where_the_file_says_nothing():
    keys = rows(ROOT / "bundles/mamba_mis/configs/train.yaml")
    assert keys["max_epochs"].comment == "" and keys["max_epochs"].default == "25"
    assert keys["patience"].comment == "validations without a better Dice before training stops early"
    assert keys["train#dataloader#num_workers"].default == "0"
    assert keys["train#handlers"].default.startswith("EpochSeed, TrainingState, LrScheduleHandler")
    assert keys["tracker"].comment.startswith("MLflow: sqlite:///")


def test_a_hash_inside_quotes_is_no_comment(tmp_path):
    config = tmp_path / "x.yaml"
    config.write_text(
        "# head\n\na: \"#1 # 2\"   # true\nb: '@c#d'\n# ---- more ----\nc:   # of c\n  d: [1, 2]  # of d\n"
    )
    head, sections = config_keys.read_config(config)
    found = rows(config)
    assert head == "head" and [section.title for section in sections] == ["", "more"]
    assert (found["a"].default, found["a"].comment) == ("#1 # 2", "true")
    assert (found["b"].default, found["b"].comment) == ("@c#d", "")
    assert (found["c"].comment, found["c#d"].default, found["c#d"].comment) == ("of c", "[1, 2]", "of d")


def test_a_page_escapes_what_would_be_markup():
    page = config_keys.page_of("medconvmamba", "train")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(table) > 100
    assert [line for line in table if len(re.findall(r"(?<!\\)\|", line)) != 4] == []
