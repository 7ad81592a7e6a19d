"""Run the tests in the same environment as the quick start, which is made or completed first.

    python scripts/run_tests.py                         the default set: fast, needs no network after the set-up
    python scripts/run_tests.py --integration           the slow ones: real servers and runtimes, fresh environments
    python scripts/run_tests.py tests/ops -k scan       every other argument goes to pytest

The whole default set runs in one process per core, up to four; with arguments, and for the integration tests, in one.

Standard library only.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit("medssm-monai needs Python 3.10 or newer; %s is Python %d.%d." % (sys.executable, *sys.version_info[:2]))  # noqa: UP031

import argparse
import os

from _environment import add_options, guarded, prepare, say

__all__ = ["main"]

MOST_PROCESSES = 4  # each takes up to 3 GB


def main(arguments: list[str] | None = None) -> int:
    """Set up with the extras that the tests need, then run pytest; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_options(parser)
    parser.add_argument(
        "--integration", action="store_true", help="run the integration tests instead of the default set"
    )
    options, pytest_arguments = parser.parse_known_args(arguments)

    environment = prepare(options, extras=("dev", "onnx") if options.integration else ("dev",))
    whole = not pytest_arguments
    chosen = ["-m", "integration"] if options.integration else in_parallel() if whole else []
    say("Running the integration tests:" if options.integration else "Running the default tests:")
    return environment.run("-m", "pytest", *chosen, *pytest_arguments)


def in_parallel() -> list[str]:
    """Options of pytest that spread the tests over the cores; each process then computes on one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1:
        return []
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return ["-n", str(min(cores, MOST_PROCESSES)), "--dist", "worksteal"]


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
