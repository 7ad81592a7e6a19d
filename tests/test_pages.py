"""The pages: links lead somewhere, and every command shown names modules, files, sections and options that exist."""

from __future__ import annotations

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from medssm_monai.apps.cli.main import FORWARDED
from medssm_monai.apps.cli.main import _parser as parsers
from medssm_monai.apps.cli.words import without_overrides

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "docs/images/*.md",
        "benchmarks/*.md",
        "benchmarks/results/*.md",
        "bundles/*/docs/*.md",
        "bundles/*/models/*.md",
    )
    for path in ROOT.glob(pattern)
)
OURS = ("medssm_monai", "benchmarks", "tests")
PROGRAMS = (
    "python",
    "nvflare",
    "torchrun",
    "pip",
    "curl",
    "storescu",
    "createdb",
    "export",
    "mlflow",
    "pg_dump",
    "pg_restore",
    "sha256sum",
    "source",
    "sqlite3",
    "tar",
    "medssm",
)
BUNDLES = sorted(path.parent.name for path in ROOT.glob("bundles/*/configs"))
CLASSIFIERS = ("medconvmamba", "medspectralnet")
BESIDE = re.compile(r"^from \.(\w+) import", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
MONAI_WORDS = {"config_file", "meta_file", "input_shape", "use_trace", "filepath", "ckpt_file"}  # of monai.bundle


def commands() -> list[tuple[Path, str]]:
    """Each command line of each page, joined over line ends; NAME stands for every bundle that the page is about."""
    found = []
    for page in PAGES:
        names = CLASSIFIERS if page.name == "classification.md" else BUNDLES
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"\s{2,}#.*", "", line).strip()
                filled = [line.replace("bundles/NAME/", f"bundles/{name}/") for name in names]
                found += [(page, command) for command in dict.fromkeys(filled) if command]
    return found


COMMANDS = commands()


def shown(value: object) -> str:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)[:80]


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def config(files: tuple[str, ...]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(ROOT / file) for file in files])
    return parser


@cache
def sources(place: Path) -> str:
    """Text of a program: of its folder where it is a package or one of the scripts, which share their helpers; else of
    its file and those beside it that it imports."""
    folder = place.name == "__main__.py" or place.parent.name == "scripts"
    beside = [place.parent / f"{name}.py" for name in BESIDE.findall(place.read_text(encoding="utf-8"))]
    files = place.parent.rglob("*.py") if folder else [place, *(file for file in beside if file.is_file())]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def module_file(name: str) -> Path:
    """Where ``python -m name`` begins, without importing it."""
    folder = ROOT.joinpath(*name.split("."))
    return folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not (target.is_relative_to(ROOT) and target.exists()) or anchor and anchor not in anchors(target):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", BUNDLES)
def test_the_page_of_a_bundle_names_configs_that_exist(name):
    text = (ROOT / "bundles" / name / "docs" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.(?:yaml|json))`", text)) - {
        "model.json",
        "dataset.json",
    }  # of a training, of a data set
    there = {path.name for path in (ROOT / "bundles" / name / "configs").iterdir()} | {
        "summary.json",
        "model_export.json",
    }
    missing = [file for file in named if file not in there and not (ROOT / "bundles" / name / file).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_names_of_the_package_exist(page):
    if page.name == "CHANGELOG.md":  # also of names that were
        return
    text = page.read_text(encoding="utf-8")
    names = {name.removesuffix(".NAME") for name in re.findall(r"(?<![\w/])medssm_monai(?:\.\w+)+", text)}
    assert sorted(name for name in names if not exists(name)) == []


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    folder, _, last = name.rpartition(".")
    if module_file(name).is_file() or (ROOT.joinpath(*name.split(".")) / "__init__.py").is_file():
        return True
    return bool(folder) and hasattr(importlib.import_module(folder), last)


def test_places_named_in_contributing_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = re.findall(r"`([\w./]+/[\w./]*)`", text)
    placeholders = re.compile(r"NAME|^docs/_build/|^eval/|^models/trained/")  # of something new, or made by a run
    roots = (ROOT, ROOT / "medssm_monai", ROOT / "bundles" / "medconvmamba")
    missing = [place for place in places if not any((root / place).exists() for root in roots)]
    assert [place for place in missing if not placeholders.search(place)] == []


def test_there_are_commands():
    assert len(COMMANDS) > 100


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=shown)
def test_a_command_names_what_exists(page, command):
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    words[0] = re.sub(r"^\.venv-\w+/bin/", "", words[0])  # of an environment that a page makes
    assert words[0] in PROGRAMS, f"{shown(page)}: no rule for {words[0]}"
    if words[0].endswith("medssm"):
        return check_medssm(words[1:])
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    if not words[0].endswith("python"):
        return
    if words[1:3] == ["-m", "monai.bundle"]:
        check_bundle_command(words)
    elif words[1] == "-m" and words[2].split(".")[0] in OURS:
        check_program(module_file(words[2]), words[3:])
    elif words[1] != "-m":
        check_program(ROOT / words[1], words[2:])


def check_medssm(words: list[str]) -> None:
    """The command takes these words, and its bundle and the config's keys exist."""
    if words[0] in FORWARDED:
        return check_program(module_file(FORWARDED[words[0]][0].removesuffix(".__main__")), words[1:])
    parser, parts = parsers()
    own, keys = without_overrides(words[1:], parts[words[0]])
    given = vars(parser.parse_args([words[0], *own]))
    assert given.get("bundle", BUNDLES[0]) in BUNDLES
    name = {"train": "train", "evaluate": "train"}.get(words[0], "inference")
    known = config((f"bundles/{given.get('bundle', BUNDLES[0])}/configs/{name}.yaml",)).config.keys()
    assert [key for key in options(keys) if key.split("#")[0] not in known] == []


def options(words: list[str]) -> list[str]:
    """Names of the options, up to two dashes alone: the rest is handed on."""
    words = words[: words.index("--")] if "--" in words else words
    return [word.removeprefix("--").split("=")[0] for word in words if re.match(r"--\w", word)]


def check_program(place: Path, words: list[str]) -> None:
    """The file is there, and its options and folders of bundles are."""
    assert place.is_file(), f"{place} does not exist"
    assert [option for option in options(words) if f'"--{option}"' not in sources(place)] == []
    folders = [word for word in words if word.startswith("bundles/") and "NAME" not in word]
    assert [folder for folder in folders if not (ROOT / folder).exists()] == []


def check_bundle_command(words: list[str]) -> None:
    """The configs are there and hold the section that is run and the keys that are given."""
    files = re.findall(r"[^\s'\",\[\]]+\.yaml", words[words.index("--config_file") + 1])
    files = tuple(re.sub(r"^(/path/to/|MINE/)(bundles/)?", "bundles/", file) for file in files)
    assert files and [file for file in files if not (ROOT / file).is_file()] == []
    keys = config(files).config.keys()
    if words[3] == "run":
        assert (words[4] if not words[4].startswith("--") else "run") in keys
    assert [key for key in options(words) if key not in MONAI_WORDS and key.split("#")[0] not in keys] == []
