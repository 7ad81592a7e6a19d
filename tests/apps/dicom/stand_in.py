"""What stands in for the engine in tests of what is around it: predicts files, and does as it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from medssm_monai.dicom.engine import JobResult

from ...dicom.objects import image


@dataclass(frozen=True)
class Plan:
    folder: Path
    jobs: tuple[str, ...]
    passed: tuple[Any, ...] = ()
    lost: tuple[tuple[str, str], ...] = ()


class StandIn:
    """One DICOM object for each ``*.dcm`` of a folder; ``trouble`` gets each name first, and may raise.

    A text that it returns is the reason of a failed prediction.
    """

    about = SimpleNamespace(described={"model": "stand-in"}, name="stand_in", serial="0" * 16, use="tests")

    def __init__(self, trouble=lambda name: None, lost=()) -> None:
        self.trouble, self.lost = trouble, lost
        self.predicted: list[str] = []

    def plan(self, folder: Path) -> Plan:
        return Plan(
            Path(folder), tuple(sorted(path.name for path in Path(folder).glob("*.dcm"))), lost=tuple(self.lost)
        )

    def result_folder(self, job: str, output_dir) -> Path:
        return Path(output_dir) / "1.2" / Path(job).stem

    def run(self, plan: Plan, output_dir):
        for job in plan.jobs:
            named = {"study_uid": "1.2", "series_uid": "1.2.3", "instance_uid": "1.2.3.4", "frame": None, "key": job}
            folder = self.result_folder(job, output_dir)
            if folder.exists():
                yield JobResult(**named, state="done before", folder=folder, files=tuple(folder.glob("*.dcm")))
                continue
            reason = self.trouble(job)
            if reason:
                yield JobResult(**named, state="failed", reason=reason)
                continue
            self.predicted.append(job)
            folder.mkdir(parents=True)
            image("DX", np.zeros((4, 4), np.uint8)).save_as(folder / "report.dcm", enforce_file_format=True)
            yield JobResult(**named, state="done", answer="fine", folder=folder, files=(folder / "report.dcm",))
