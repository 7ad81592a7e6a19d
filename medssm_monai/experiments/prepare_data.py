"""Check public data sets, and fetch or unpack them when asked to.

    python -m medssm_monai.experiments.prepare_data --list
    python -m medssm_monai.experiments.prepare_data breastmnist pneumoniamnist --output_dir data    # what is there?
    python -m medssm_monai.experiments.prepare_data breastmnist --output_dir data --fetch           # over the network
    python -m medssm_monai.experiments.prepare_data isic2019 --output_dir data/isic2019 --from-dir ~/Downloads

Without ``--fetch`` or ``--from-dir`` nothing is written and no connection is made. ``--fetch`` continues a broken
download, honors ``https_proxy`` and ``no_proxy``, and keeps a file only when its MD5 is the published one. Sets that
ask for an account or a form are taken from a folder of files that you have fetched by browser.

Exit status: 0 when every set named is complete and readable, 1 when one is not, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import uuid
from pathlib import Path

from monai.apps.utils import check_hash, extractall

from ..utils.text_files import printable
from .data_sets import DATA_SETS, DataSet
from .download import FetchError, fetch

__all__ = ["main"]


def describe(data_set: DataSet) -> str:
    """One line: name, how it is taken, license and source."""
    how = "--fetch" if data_set.files else "--from-dir"
    return f"{data_set.name:20} {how:10} {data_set.license:14} {data_set.source}"


def _place(source: Path, target: Path) -> None:
    """Copy a file or folder, or unpack an archive, to ``target``; whole or not at all."""
    fresh = target.with_name(f".{target.name}.new-{uuid.uuid4().hex}")
    try:
        if source.suffix.lower() == ".zip":
            extractall(source, fresh, has_base=False)
            inner = fresh / target.name  # most archives hold one folder, or the one file, of their own name
            if inner.exists():
                inner.rename(target)
                return
        elif source.is_dir():
            shutil.copytree(source, fresh)
        else:
            shutil.copy2(source, fresh)
        fresh.rename(target)
    finally:
        if fresh.is_dir():
            shutil.rmtree(fresh)
        else:
            fresh.unlink(missing_ok=True)


def _find(folder: Path, names: tuple[str, ...]) -> Path | None:
    candidates = [folder / entry for name in names for entry in (name, f"{name}.zip")]
    return next((path for path in candidates if path.exists()), None)


def take_from(data_set: DataSet, offline: Path, output_dir: Path) -> None:
    """Copy or unpack a set's files from a local folder.

    Raises:
        FetchError: files that are not there (all of them at once), or a wrong checksum.
    """
    wanted = data_set.entries or {name: (name,) for name in data_set.files}
    missing = [name for name in wanted if not (output_dir / name).exists()]
    found = {name: path for name in missing if (path := _find(offline, wanted[name])) is not None}
    lacking = [name for name in missing if name not in found]
    if lacking:
        raise FetchError(f"{offline} lacks {', '.join(lacking)} (or the .zip of it). Get them: {data_set.source}")
    for name, (_, md5) in data_set.files.items():
        if name in found and not check_hash(found[name], md5, "md5"):
            raise FetchError(f"{found[name]} is not the published file (MD5 {md5}); fetch it again: {data_set.source}")
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, path in found.items():
        _place(path, output_dir / name)


def check(data_set: DataSet, output_dir: Path) -> str:
    """What the prepared set holds, in words.

    Raises:
        FetchError: files are missing.
        ValueError, OSError: anything wrong with the data.
    """
    wanted = [*data_set.files, *data_set.entries]
    missing = [name for name in wanted if not (output_dir / name).exists()]
    if missing:
        how = "--fetch" if data_set.files else f"--from-dir FOLDER, after fetching it by hand: {data_set.source}"
        raise FetchError(f"{output_dir} lacks {', '.join(missing)}; use {how}")
    lists = data_set.check(output_dir)
    return ", ".join(f"{len(items)} {part}" for part, items in lists.items())


def main(arguments: list[str] | None = None) -> int:
    """Prepare or check the named sets; returns 0 when all are complete."""
    parser = argparse.ArgumentParser(
        prog="python -m medssm_monai.experiments.prepare_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="sets to prepare or check; see --list")
    parser.add_argument("--list", action="store_true", help="list the known sets and where they come from")
    parser.add_argument("--output_dir", type=Path, help="folder the sets lie in, or are put into")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="only check what is there (the default)")
    how.add_argument("--fetch", action="store_true", help="fetch what is missing over the network")
    how.add_argument("--from-dir", type=Path, help="take what is missing from this folder; no network")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(map(describe, DATA_SETS.values())))
        return 0
    if not options.names or options.output_dir is None:
        parser.error("name at least one set and --output_dir, or use --list")
    unknown = [name for name in options.names if name not in DATA_SETS]
    if unknown:
        parser.error(f"unknown data sets {', '.join(unknown)}; --list shows the known ones")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    status = 0
    for name in options.names:
        try:
            print(f"{name}: ready, {prepare(DATA_SETS[name], options)}")
        except (FetchError, ValueError, OSError) as error:
            print(printable(f"{name}: NOT ready: {error}"), file=sys.stderr)
            status = 1
    return status


def prepare(data_set: DataSet, options: argparse.Namespace) -> str:
    """Fetch or unpack what is missing if asked to; returns what :func:`check` finds, and raises as it does."""
    if options.fetch and data_set.entries:
        raise FetchError(f"cannot be fetched without a browser: {data_set.source}; then use --from-dir")
    if options.fetch:
        for name, (url, md5) in data_set.files.items():
            fetch(url, options.output_dir / name, md5)
    elif options.from_dir is not None:
        take_from(data_set, options.from_dir.expanduser(), options.output_dir)
    return check(data_set, options.output_dir)


if __name__ == "__main__":
    sys.exit(main())
