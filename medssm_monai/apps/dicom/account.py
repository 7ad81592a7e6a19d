"""What a run over studies read, passed over, wrote and could not do: for people at the end, for programs as JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...utils.files import replace_file, writable_folder

if TYPE_CHECKING:
    from ...dicom.engine import JobResult, StudyPlan

__all__ = ["Account"]

SHOWN = 10


@dataclass
class Account:
    """Of one run.

    Args:
        plan: what there was to do.
        output_dir: that the names of results are relative to.
    """

    plan: StudyPlan
    output_dir: Path
    results: list[JobResult] = field(default_factory=list)

    @property
    def failed(self) -> list[JobResult]:
        """Predictions that failed."""
        return [result for result in self.results if result.state == "failed"]

    def lines(self) -> list[str]:
        """The account in words."""
        states = Counter(result.state for result in self.results)
        count = len(self.plan.jobs)
        done = f"{states['done']} of {count} predictions done"
        done += f", {states['done before']} done before" if states["done before"] else ""
        done += f", {states['failed']} failed" if states["failed"] else ""
        lines = [f"{done}."]
        lines += _some([f"  failed: {_where(one)}: {one.reason}" for one in self.failed])
        lines += _some([f"  not read: {where}: {reason}" for where, reason in self._by_reason()])
        lines += self._passed()
        return lines

    def _by_reason(self) -> list[tuple[str, str]]:
        """What could not be used, once for each reason; rare ones, of which others may follow, first."""
        names: dict[str, list[str]] = {}
        for name, reason in self.plan.lost:
            names.setdefault(reason, []).append(name)
        several = lambda some: f"{some[0]} and {len(some) - 1} more" if len(some) > 1 else some[0]  # noqa: E731
        return [(several(some), reason) for reason, some in sorted(names.items(), key=lambda one: len(one[1]))]

    def _passed(self) -> list[str]:
        """Series and files that are rightly left out, by reason."""
        reasons = Counter(f"series: {passed.reason}" for passed in self.plan.passed if not passed.lost)
        reasons += Counter(f"files: {aside.reason}" for aside in self.plan.found.set_aside if not aside.lost)
        return _some([f"  passed over, {number} {reason}" for reason, number in reasons.most_common()])

    def plain(self, model: dict[str, str] | None, seconds: float) -> dict[str, Any]:
        """All of it, for programs."""
        names = self.plan.names
        return {
            "model": model,
            "seconds": round(seconds, 3),
            "images": sum(len(series.instances) for series in self.plan.found.series),
            "predictions": [self._row(result) for result in self.results],
            "passed_over": [
                {
                    "study": names.uid(passed.series.study_uid),
                    "series": names.uid(passed.series.series_uid),
                    "modality": passed.series.modality,
                    "images": len(passed.series.instances),
                    "reason": passed.reason,
                }
                for passed in self.plan.passed
                if not passed.lost
            ],
            "not_read": [{"what": what, "reason": reason} for what, reason in self.plan.lost],
            "set_aside": [
                {"file": names.file(aside.path), "reason": names.text(aside.reason)}
                for aside in self.plan.found.set_aside
                if not aside.lost
            ],
        }

    def _row(self, result: JobResult) -> dict[str, Any]:
        return {
            "study": result.study_uid,
            "series": result.series_uid,
            "instance": result.instance_uid,
            "frame": result.frame,
            "state": result.state,
            "reason": result.reason,
            "answer": result.answer,
            "unlike_training": list(result.unlike_training),
            "files": [os.path.relpath(file, self.output_dir) for file in result.files],
            "seconds": round(result.seconds, 3),
        }

    def write(self, file: Path, model: dict[str, str] | None, seconds: float) -> None:
        """Write :meth:`plain` as JSON, whole or not at all.

        Raises:
            PermissionError: its folder cannot be written into.
        """
        writable_folder(file.absolute().parent, remedy="Name another file with --report.")
        with replace_file(file) as part:
            text = json.dumps(self.plain(model, seconds), indent=2, ensure_ascii=False)
            part.write_text(f"{text}\n", encoding="utf8")


def _where(result: JobResult) -> str:
    frame = "" if result.frame is None else f", frame {result.frame}"
    return f"series {result.series_uid}, instance {result.instance_uid}{frame}"


def _some(lines: Sequence[str]) -> list[str]:
    return [*lines[:SHOWN], *([f"  and {len(lines) - SHOWN} more (--report has all)"] if len(lines) > SHOWN else [])]
