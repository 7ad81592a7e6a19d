"""Keys that nothing in a config uses: refused by name before a run starts, instead of being carried along silently."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING, Any

import yaml

from .callers import calling

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["require_known_keys", "unknown_keys"]

SEPARATOR = "::"  # of ids, in MONAI's config language
COMPONENT = "_target_"
ENTRIES = {"imports", "initialize", "run", "finalize", "prediction", "run_name"}
"""Keys that MONAI's commands and :func:`medssm_monai.load` read, or that its federated client gives to any config."""
SWITCHES = {"resume"}
"""Keys whose reader takes ``true`` and ``false`` as texts as well (:func:`~medssm_monai.utils.switches.switch`)."""
WORDS = {"true": "True", "false": "False", "null": "None"}
"""Words of YAML that a command line hands over as texts, and the ones of Python, which it reads."""
RUN_PREFIX = "@run"
SHOWN = 3


def require_known_keys(parser: ConfigParser | None = None) -> None:
    """Refuse a config with keys that nothing in it uses, such as a mistyped ``--max_epoch 1``.

    A key is used when an expression or a reference (``@max_epochs``) names it, one of its parents or one of its
    children, when it is an argument of the component that it belongs to, or when MONAI itself reads it (``run``,
    ``initialize`` and the properties of its bundle specification). It makes no difference whether the key comes from
    the command line, from an overlay file or from Python. Keys of the bundle's own that another of its files takes the
    use away from, as the evaluation does from ``seed``, are passed over.

    The texts ``true``, ``false`` and ``null`` are refused as well: a command line takes ``True``, ``False`` and
    ``None``, and a text is true whatever it says. Keys of ``SWITCHES`` take these texts as well.

    Args:
        parser: parser of the config, overrides applied. None takes the one that evaluates the calling expression, so
            that a bundle's ``initialize`` can name this function without arguments.

    Raises:
        ValueError: naming every unknown key, and the nearest known ones; a word of YAML given as a text; or a text
            where the bundle's own file has a number.
        RuntimeError: no ``parser`` given, and not called by an expression of a config.
    """
    from monai.bundle import ConfigParser  # only here, so that this package stays light for the scan

    parser = calling(ConfigParser) if parser is None else parser
    if parser is None:
        raise RuntimeError("require_known_keys was not called by an expression of a config; give it the parser.")
    config = parser.get()
    for name, value in config.items():
        if isinstance(value, str) and value in WORDS and name not in SWITCHES:
            raise ValueError(f"{name} is the text {value!r}; on a command line write --{name} {WORDS[value]}.")
    _require_numbers(parser)
    found = unknown_keys(config)
    files = _own_files(parser) if found else {}
    found = {name: near for name, near in found.items() if not _without_a_reader(files, parser, name)}
    if found:
        named = "; ".join(f"{name}{_hint(nearest)}" for name, nearest in found.items())
        raise ValueError(
            f"nothing in this config uses {named}. Correct the name, or leave it out (names that start with _ are "
            "passed over)."
        )


def _require_numbers(parser: ConfigParser) -> None:
    """Refuse words, such as ``three``, for keys that are numbers in the bundle's own file."""
    words = {name: value for name, value in parser.get().items() if isinstance(value, str) and value[:1] not in "$@%"}
    start = "train" if "train" in parser else "inference"
    own = (_own_files(parser, start) if words else {}).get(start) or {}
    for name, value in words.items():
        default = own.get(name)
        if isinstance(default, (int, float)) and not isinstance(default, bool):
            raise ValueError(f"{name} is the text {value!r}; it takes a number, {default} by default.")


def unknown_keys(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Ids that nothing uses, as MONAI writes them on a command line (``train#trainer``), and up to three known ids of
    the same place that look like each.

    Args:
        config: content of a ``ConfigParser``, overrides applied.
    """
    used = {tuple(name.split(SEPARATOR)) for name in _references(config)} | _entries(config)
    known = {part[:depth] for part in used for depth in range(1, len(part) + 1)}
    return {"#".join(path): _nearest(path[-1], siblings) for path, siblings in _unknown(config, (), used, known)}


MISSING = object()


def _own_files(parser: ConfigParser, name: str = "*") -> dict[str, Any]:
    """Contents of the bundle's config files, or of one of them, by file name without suffix; ``settings.yaml`` is no
    config."""
    if "bundle_root" not in parser:
        return {}
    configs = Path(parser.get_parsed_content("bundle_root")) / "configs"
    files = [path for path in sorted(configs.glob(f"{name}.*")) if path.suffix in (".yaml", ".yml", ".json")]
    return {path.stem: _content(path.read_text(encoding="utf-8")) for path in files if path.stem != "settings"}


@lru_cache(maxsize=64)  # a bundle's files are looked at more than once, and reading YAML takes long
def _content(text: str) -> Any:
    """What a YAML or JSON file says, for reading only."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # JSON is YAML


def _in_file(content: Any, name: str) -> Any:
    """Value of an id in a file, by its place or by the id as an overlay writes it; else ``MISSING``."""
    if isinstance(content, Mapping) and name in content:
        return content[name]
    for key in name.split("#"):
        content = content.get(key, MISSING) if isinstance(content, Mapping) else MISSING
    return content


def _without_a_reader(files: Mapping[str, Any], parser: ConfigParser, name: str) -> bool:
    """Whether the key is one of the bundle's own, which other files of this command leave without a reader: any key of
    the file that the command starts from, and those of overlays as the overlay has them."""
    start = "train" if "train" in parser else "inference"
    if _in_file(files.get(start), name) is not MISSING:
        return True
    return any(_in_file(content, name) == parser.get(name) for content in files.values())


def _hint(nearest: Iterable[str]) -> str:
    names = " or ".join(map(repr, nearest))
    return f" (did you mean {names}?)" if names else ""


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, sorted(known), n=SHOWN, cutoff=0.6)


def _entries(config: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """What is read from outside of the config: MONAI's own ids, and what can be run by name."""
    from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties

    properties: list[Any] = [*TrainProperties.values(), *InferProperties.values(), *MetaProperties.values()]
    names = {str(entry["id"]).split(SEPARATOR)[0] for entry in properties if "id" in entry}
    to_run = {key for key, value in config.items() if isinstance(value, str) and value.startswith(RUN_PREFIX)}
    return {(name,) for name in names | ENTRIES | to_run}


def _references(config: Any) -> Iterator[str]:
    from monai.bundle import ReferenceResolver

    if isinstance(config, Mapping):
        for value in config.values():
            yield from _references(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _references(value)
    elif isinstance(config, str):
        yield from ReferenceResolver.match_refs_pattern(config)


def _unknown(
    config: Mapping[str, Any],
    place: tuple[str, ...],
    used: set[tuple[str, ...]],
    known: set[tuple[str, ...]],
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Unused keys of a mapping that is itself used only through its children, with the names that stand there."""
    siblings = {path[len(place)] for path in known if path[: len(place)] == place and len(path) > len(place)}
    for key, value in config.items():
        path = (*place, str(key))
        if path[-1].startswith("_"):
            continue
        if path not in known:
            yield path, siblings
        elif isinstance(value, Mapping) and COMPONENT not in value and path not in used:
            yield from _unknown(value, path, used, known)
        else:
            yield from _unknown_arguments(value, path)


def _unknown_arguments(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Arguments of components at or below a used key that the component does not take."""
    if isinstance(value, (list, tuple)):
        for number, entry in enumerate(value):
            yield from _unknown_arguments(entry, (*place, str(number)))
    elif isinstance(value, Mapping):
        taken = _arguments(value[COMPONENT]) if COMPONENT in value else None
        for key, entry in value.items():
            path = (*place, str(key))
            if taken is not None and str(key) not in taken and not str(key).startswith("_"):
                yield path, taken
            yield from _unknown_arguments(entry, path)


def _arguments(target: Any) -> set[str] | None:
    """Names of the arguments that a component takes; None where that cannot be told, or where any name goes."""
    component = locate(target) if isinstance(target, str) and target[:1] not in "$@%" else target
    if not callable(component):
        return None
    names: set[str] = set()
    for call in _calls(component):
        try:
            parameters = list(inspect.signature(call).parameters.values())
        except (TypeError, ValueError):  # built in C: no signature to be had
            return None
        names |= {parameter.name for parameter in parameters} - {"self"}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return names
    return None


def _calls(component: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The function, or the constructors of a class and its parents: ``**kwargs`` go on to the next one."""
    if not inspect.isclass(component):
        return [component]
    own = [cls.__dict__["__init__"] for cls in component.__mro__ if "__init__" in cls.__dict__]
    return [*own[:-1], *([own[-1]] if own[-1] is not object.__init__ else [])]
