"""Run lint, types and tests in the same environment as the quick start, which is made or completed first.

    python scripts/run_tests.py                         lint, types, and the default tests: no network after the set-up
    python scripts/run_tests.py --integration           the slow tests: real servers and runtimes, fresh environments
    python scripts/run_tests.py tests/ops -k scan       every other argument goes to pytest, which then runs alone

Both sets run in one process per core, the slow one in one more, up to four; with arguments in one.

Standard library only.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit("medssm-monai needs Python 3.10 or newer; %s is Python %d.%d." % (sys.executable, *sys.version_info[:2]))  # noqa: UP031

import argparse
import os

from _venv import add_options, guarded, prepare, say

INTEGRATION_EXTRAS = ("dev", "docs", "onnx", "viewer")
MOST_PROCESSES = 4  # each takes up to 3 GB
CHECKS = {"Lint": ("ruff", "check", "."), "Types": ("mypy",)}
"""Modules that run before the whole default set, with their arguments; settings are in ``pyproject.toml``."""


def main(arguments: list[str] | None = None) -> int:
    """Set up with the extras that the tests need, then run everything; returns the first exit status that is not 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_options(parser)
    parser.add_argument("--integration", action="store_true", help="the integration tests instead of the default set")
    options, chosen = parser.parse_known_args(arguments)
    environment = prepare(options, extras=INTEGRATION_EXTRAS if options.integration else ("dev",))
    steps = {"Tests": ("pytest", *chosen)}
    if options.integration:
        # What a file starts, its tests share; the files stay in the order that the tests give them.
        spread = () if chosen else in_parallel("loadfile", "--no-loadscope-reorder", more=1)
        steps = {"Integration tests": ("pytest", "-m", "integration", *spread, *chosen)}
    elif not chosen:
        steps = {**CHECKS, "Tests": ("pytest", *in_parallel())}
    results = {}
    for name, step in steps.items():
        say(f"{name}:")
        results[name] = environment.run("-m", *step)
    failed = [name for name, status in results.items() if status != 0]
    if failed:
        say(f"Failed: {', '.join(failed)}.")
    return results[failed[0]] if failed else 0


def in_parallel(dist: str = "worksteal", *options: str, more: int = 0) -> list[str]:
    """Options of pytest that spread the tests over the cores; each process then computes on one thread.

    ``dist`` and further ``options`` are pytest-xdist's: which tests a process takes. ``more`` processes than cores suit
    tests that wait for servers, for other processes and for the disk.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1:
        return []
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return ["-n", str(min(cores + more, MOST_PROCESSES)), "--dist", dist, *options]


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
