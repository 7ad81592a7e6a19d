"""The checkouts whose networks ``benchmarks.networks`` runs in turn, each in a live process."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .network_sizes import Group, arguments_for, image_shape
from .pipe import Child, ChildError

__all__ = ["Side", "network_of", "suffix_of"]

LOOP = "reference"
PROGRAM = Path(__file__).with_name("network_child.py")


def suffix_of(backend: str) -> str:
    """What a row on a backend of its own adds to the name of the network."""
    return " (sequential loop)" if backend == LOOP else f" ({backend} scan)"


def network_of(row: str) -> str:
    """Name of the network of a row."""
    return row.partition(" (")[0]


class Side:
    """One checkout's live process.

    Args:
        checkout: folder that holds ``medssm_monai``.
        suffix: what its rows add to the name of a network.

    Raises:
        ChildError: when the folder holds no package, or another one would be imported.
    """

    def __init__(self, checkout: Path, suffix: str, options: argparse.Namespace) -> None:
        self.checkout, self.suffix, self.options = checkout.resolve(), suffix, options
        package = self.checkout / "medssm_monai"
        if not (package / "__init__.py").is_file():
            raise ChildError(
                f"{checkout} holds no package medssm_monai: give the root of a checkout of this project, such as "
                "one that `git worktree add ../earlier COMMIT` makes."
            )
        self.child = self._start()

    def _start(self) -> Child:
        child = Child(f"networks of {self.checkout}", PROGRAM, environment={"PYTHONPATH": str(self.checkout)})
        found = child.ask("start", threads=self.options.threads, device=self.options.device, dtype=self.options.dtype)
        if Path(found["package"]) != self.checkout / "medssm_monai":
            raise ChildError(f"{self.checkout}: Python imports medssm_monai from {found['package']} instead.")
        return child

    @classmethod
    @contextmanager
    def all(cls, options: argparse.Namespace, ours: Path, before: Path | None) -> Iterator[list[Side]]:
        """Ours, and that of before where it is asked for."""
        with ExitStack() as stack:
            sides = []
            for checkout, suffix in ((ours, ""), (before, " (before)")):
                if checkout is not None:
                    sides.append(cls(checkout, suffix, options))
                    stack.callback(sides[-1].child.close)
            yield sides

    def load(self, row: str, group: Group, weights: Path | None = None, child: Child | None = None) -> None:
        """Have the network of a row built."""
        network = network_of(row)
        backends = [backend for backend in self.options.scans if row.endswith(suffix_of(backend))]
        (child or self.child).ask(
            "load",
            name=row,
            network=network,
            arguments=arguments_for(network, group.size),
            shape=[group.batch, *image_shape(network, group.size)],
            backend=backends[0] if backends else "auto",
            weights=None if weights is None else str(weights),
        )

    def peak(self, row: str, group: Group, kind: str) -> int:
        """Bytes above network and input at the peak of one pass, in a fresh process."""
        with self._start() as fresh:
            self.load(row, group, child=fresh)
            return fresh.ask("peak", name=row, kind=kind)
