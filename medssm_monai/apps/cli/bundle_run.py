"""Commands that run a bundle's config: composed here, run by ``monai.bundle`` in this process as if typed."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from ...bundle.console import trust_config
from ...bundle.find import bundle_config, bundle_places, find_bundle
from ...utils.command_line import as_typed, note_short_command, python_name

__all__ = ["config_files", "run_config"]


def config_files(root: Path, *names: str, overlays: Sequence[str] = ()) -> list[str]:
    """Paths of a bundle's configs by name, the overlays after the first one.

    Args:
        root: the bundle.
        names: of configs, without suffix.
        overlays: names of its overlays, with or without suffix, or files elsewhere.

    Raises:
        FileNotFoundError: no such overlay; the message lists those of the bundle.
    """
    first, *more = [_config(root, name) for name in names]
    return [os.fspath(path) for path in (first, *(_overlay(root, name) for name in overlays), *more)]


def _config(root: Path, name: str) -> Path:
    path = bundle_config(root, name)
    if path is None:
        raise FileNotFoundError(f"{root.name} has no configs/{name}.yaml.")
    return path


def _overlay(root: Path, name: str) -> Path:
    inside = bundle_config(root, Path(name).stem) if os.sep not in name and "/" not in name else None
    if inside is not None:
        return inside
    if Path(name).is_file():
        return Path(name)
    own = {"train", "evaluate", "calibrate", "inference", "metadata", "settings", "comparison", "ablations"}
    there = sorted(path.stem for path in (root / "configs").glob("*.yaml") if path.stem not in own)
    raise FileNotFoundError(f"no overlay {name!r}: {root.name} has {', '.join(there)}; or give a file.")


def run_config(
    bundle: str, action: str, files: Sequence[str], words: Sequence[str], show: bool = False, short: Sequence[str] = ()
) -> int:
    """``python -m monai.bundle run ACTION --config_file FILES WORDS``; returns its exit status.

    Args:
        bundle: as :func:`~medssm_monai.bundle.find_bundle` takes it.
        action: id of the config that is run, such as ``training``.
        files: its config and overlays.
        words: overrides.
        show: print the command instead of running it.
        short: the command that was typed, without its options, in whose terms the next one is shown.
    """
    named = files[0] if len(files) == 1 else str(list(files))
    command = ["run", action, "--config_file", named, *words]
    if show:
        print(as_typed([python_name(), "-m", "monai.bundle", *command]))
        return 0
    if any(find_bundle(bundle).is_relative_to(place) for place in bundle_places()):
        trust_config()
    note_short_command(short)
    sys.argv = ["monai.bundle", *command]
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
