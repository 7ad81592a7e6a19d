"""What a move or a renaming must leave as it was, to the byte; to be run before and after it on one machine.

    python -m tests.invariants record FOLDER
    python -m tests.invariants compare FOLDER

``record`` writes digests, and a checkpoint of every bundle; ``compare`` computes them again, goes on from these
checkpoints, and prints one line per section; its exit status is 1 where something differs. Names may change: of
``tests/renamed.json``, ``names`` (``{"old dotted name": "new dotted name"}``) is applied to what was recorded; an entry
that a pattern of ``recast`` fits may be gone or differ, one of ``rounded`` differ in its last bits: both are counted
apart. The digests depend on the processor, so they are not kept in the repository.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import json
import logging
import math
import pkgutil
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism

import medssm_monai
from medssm_monai.networks import nets

from .bundles.bundle_runs import BUNDLES, Bundle, leaves
from .ops.scan_cases import run
from .ops.test_selective_scan import CASES
from .test_registry import SMALL

RENAMED = Path(__file__).with_name("renamed.json")
DIGESTS = "digests.json"
DOTTED = re.compile(r"\bmedssm_monai(?:\.\w+)+")
BACKENDS = ("reference", "blocked", "native")
SECTIONS = ("faces", "configs", "names", "networks", "scans", "trainings")
RESULTS = ("model.pt", "history.csv", "summary.json")
OF_ONE_RUN = re.compile(r"time|seconds|written|date|version|hash|python|platform|host", re.IGNORECASE)


def digest(*values: Any) -> str:
    """SHA-256 of tensors' bytes and of other values' JSON."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(value.numpy().tobytes())
        else:
            found.update(json.dumps(value, sort_keys=True, default=str).encode())
    return found.hexdigest()


def faces() -> Iterable[tuple[str, Any]]:
    """Public names of every package."""
    packages = [module.name for module in pkgutil.walk_packages(medssm_monai.__path__, "medssm_monai.") if module.ispkg]
    for package in ("medssm_monai", *packages):
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            if package.startswith("medssm_monai.apps.label"):  # needs MONAI Label
                continue
            raise error
        for name in getattr(module, "__all__", ()):
            yield f"{package}.{name}", True


def configs() -> Iterable[tuple[str, Any]]:
    """Every value of the bundles' configs."""
    for bundle in BUNDLES:
        for file in sorted((bundle.folder / "configs").glob("*.yaml")):
            if file.stem not in (
                "ablations",
                "comparison",
                "settings",
            ):  # plans of trainings, facts: no configs of MONAI's
                yield from leaves(ConfigParser.load_config_file(str(file)), f"{bundle.name}/{file.name}")


def names(further: Iterable[str] = ()) -> Iterable[tuple[str, Any]]:
    """Whether each name of ours that stands in a config, or stood in one, can be found."""
    found = set(DOTTED.findall(json.dumps(dict(configs()))))
    for name in sorted(found | set(further)):
        yield name, _exists(name)


def _exists(name: str) -> bool:
    module, rest = "medssm_monai", name.split(".")[1:]
    found: Any = importlib.import_module(module)
    for part in rest:
        if not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
        found = getattr(found, part)
    return True


def networks() -> Iterable[tuple[str, Any]]:
    """Weights at seed 0, outputs and gradients of every registered variant."""
    for name in nets.__all__:
        ((arguments, shape),) = (entry for start, entry in SMALL.items() if name.startswith(start))
        torch.manual_seed(0)
        network = medssm_monai.get_network(name, **arguments)
        state = network.state_dict()
        yield f"{name} keys and shapes", {key: list(value.shape) for key, value in state.items()}
        yield f"{name} weights", digest(*state.values())
        output = network(torch.rand(shape, generator=torch.Generator().manual_seed(1)))
        yield f"{name} output", digest(output)
        output.square().mean().backward()
        yield f"{name} gradients", digest(*(value.grad for value in network.parameters()))


def scans() -> Iterable[tuple[str, Any]]:
    """Outputs, states and gradients of every scan case, on one, two and three threads."""
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for backend in BACKENDS:
                for case in CASES:
                    yield f"{backend} {case}, threads {threads}", digest(*run(case, backend, torch.float32).values())
    finally:
        torch.set_num_threads(before)


def trainings(folder: Path, record: bool) -> Iterable[tuple[str, Any]]:
    """Two tiny epochs of every bundle, its evaluation, and the third epoch from the recorded checkpoint."""
    for bundle in BUNDLES:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "run"
            _train(bundle, out, max_epochs=2)
            yield from _results(f"{bundle.name} training", out / "first")
            weights = str(out / "models" / "model.pt")
            _evaluate(bundle, Path(place) / "evaluated", weights)
            yield from _results(f"{bundle.name} evaluation", Path(place) / "evaluated")
            kept = folder / bundle.name
            if record:
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(out, kept)
            again = Path(place) / "again"
            shutil.copytree(kept, again)
            shutil.rmtree(again / "first" / "validation")  # the report of the first two epochs
            _train(bundle, again, max_epochs=3, resume_from=str(again / "first"))
            yield from _results(f"{bundle.name} resumed", again / "first")


def _train(bundle: Bundle, out: Path, **settings: Any) -> None:
    set_determinism(seed=0)
    bundle.run(("train.yaml",), out, **{**bundle.tiny, **settings}, run_name="first", seed=0)


def _evaluate(bundle: Bundle, out: Path, weights: str) -> None:
    settings = {key: bundle.tiny[key] for key in ("device", "datalists#demo_counts") if key in bundle.tiny}
    bundle.run(("train.yaml", "evaluate.yaml"), out, "train", **settings, ckpt_path=weights, run_name="evaluated")


def _results(name: str, out: Path) -> Iterable[tuple[str, Any]]:
    """Weights, histories and summaries below a folder, but for the copies that a tracker keeps under made-up names."""
    found = {key: [path for path in sorted(out.rglob(key)) if "mlruns" not in path.parts] for key in RESULTS}
    for path in found["model.pt"]:
        state = torch.load(path, weights_only=True, map_location="cpu")
        yield f"{name} {path.relative_to(out)}", digest(list(state), *state.values())
    for path in found["history.csv"]:
        rows = list(csv.DictReader(path.open(newline="")))
        kept = [{key: value for key, value in row.items() if not OF_ONE_RUN.search(key)} for row in rows]
        yield f"{name} {path.relative_to(out)}", kept
    for path in found["summary.json"]:
        yield from leaves(_plain(json.loads(path.read_text())), f"{name} {path.relative_to(out)}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if not OF_ONE_RUN.search(key)}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return re.sub(r"/\S*/", "", value) if isinstance(value, str) else value


def _first_difference(then: Any, now: Any, place: str = "") -> str:
    """Where two values begin to differ, and how."""
    if isinstance(then, dict) and isinstance(now, dict) and set(then) == set(now):
        parts = [(f"{place}#{key}", then[key], now[key]) for key in then]
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        parts = [(f"{place}#{number}", *pair) for number, pair in enumerate(zip(then, now, strict=True))]
    else:
        return f"{place}: {str(then)[:80]} -> {str(now)[:80]}"
    return next(_first_difference(before, after, part) for part, before, after in parts if before != after)


def _fits(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _rounded(key: str, then: Mapping[str, Any], now: Mapping[str, Any], patterns: Iterable[str]) -> bool:
    """Whether numbers that may differ in their last bits differ by no more."""
    pair = then[key], now.get(key)
    numbers = all(isinstance(value, float) for value in pair)
    return numbers and _fits(key, patterns) and math.isclose(*pair, rel_tol=1e-11, abs_tol=1e-12)


def renamed(text: str, table: Mapping[str, str]) -> str:
    """``text`` with the names of today, the longest first."""
    for old in sorted(table, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)", table[old], text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Record or compare; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sections", nargs="+", default=SECTIONS)
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    record = options.action == "record"
    options.folder.mkdir(parents=True, exist_ok=True)
    store = options.folder / DIGESTS
    known = json.loads(store.read_text()) if store.is_file() else {}
    table: dict[str, Any] = {"names": {}, "recast": [], "rounded": []}
    if RENAMED.is_file() and not record:
        table = json.loads(RENAMED.read_text())
    before = json.loads(renamed(json.dumps(known), table["names"]))
    sections: dict[str, Callable[[], Iterable[tuple[str, Any]]]] = {
        "faces": faces,
        "configs": configs,
        "names": lambda: names(before.get("names", ())),
        "networks": networks,
        "scans": scans,
        "trainings": lambda: trainings(options.folder.absolute(), record),
    }
    found = {name: dict(sections[name]()) for name in options.sections}
    if record:
        store.write_text(json.dumps({**known, **found}, indent=1, default=str))
        print("\n".join(f"{name}: {len(entries)} recorded" for name, entries in found.items()))
        return 0
    different = 0
    print(f"{'section':<12}{'compared':>10}{'equal':>8}{'recast':>8}{'gone':>6}{'differ':>8}{'new':>6}")
    for name, entries in found.items():
        now, then = json.loads(json.dumps(entries, default=str)), before[name]
        changed = [key for key in then if key not in now or then[key] != now[key]]
        recast = [key for key in changed if _fits(key, table["recast"]) or _rounded(key, then, now, table["rounded"])]
        gone = [key for key in changed if key not in now and key not in recast]
        unequal = [key for key in changed if key in now and key not in recast]
        new = sum(key not in then for key in now)
        counts = (len(then), len(then) - len(changed), len(recast), len(gone), len(unequal), new)
        print(f"{name:<12}{'{:>10}{:>8}{:>8}{:>6}{:>8}{:>6}'.format(*counts)}")
        for key in gone:
            print(f"    gone: {key}")
        for key in unequal:
            print(f"    differs: {key} {_first_difference(then[key], now[key])}")
        different += len(gone) + len(unequal)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
