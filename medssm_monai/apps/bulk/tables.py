"""What a run leaves for people and programs: tables of results and failures, a report with the drift, a JSON file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.fingerprint import NOT_RECORDED, Fingerprint
from ...reports.predictions_table import prediction_row
from ...transforms.unlike_training import UNLIKE_TRAINING
from ...utils.files import replace_file
from ...utils.text_files import markdown_text, name_cell, open_text, write_text
from .drift import Batch
from .manifest import Entry, Manifest
from .work import shard_of

if TYPE_CHECKING:
    from .run import BulkRun

__all__ = ["FAILURES", "REPORT", "SUMMARY", "TABLE", "Account"]

TABLE, FAILURES, REPORT, SUMMARY = "results.csv", "failures.csv", "report.md", "bulk.json"
SHOWN = 20
MB = 1e6


@dataclass
class Account:
    """Of a folder of results, whenever it is written.

    Args:
        manifest: of the folder.
        out: the folder.
        model: the bundle and its weights, as texts by name.
        class_names: of a classification.
        fingerprints: of the training images, by key of the image.
        names: with what the inputs are called.
    """

    manifest: Manifest
    out: Path
    model: Mapping[str, str]
    class_names: Sequence[str] = ()
    fingerprints: Mapping[str, Fingerprint] | None = None
    names: bool = False

    def write(self, run: BulkRun | None = None, **facts: Any) -> dict[str, Any]:
        """Write all of them, each whole or not at all; returns what the JSON file says.

        Args:
            run: that has ended, for its figures.
            facts: further ones for the JSON file.
        """
        summary = self._summary(run, facts)
        self._rows(TABLE, ("done",), self._result)
        self._rows(FAILURES, ("failed", "passed"), self._failure)
        with replace_file(self.out / SUMMARY) as part:
            part.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        with replace_file(self.out / REPORT) as part:
            write_text(part, "\n".join(self._lines(summary)) + "\n")
        return summary

    def _rows(self, name: str, states: Sequence[str], row_of: Any) -> None:
        """One row after the other, so that a table of any length takes the same memory; none where there are none."""
        with replace_file(self.out / name) as part, open_text(part) as stream:
            writer = csv.writer(stream)
            for number, entry in enumerate(self.manifest.entries(states)):
                row = row_of(entry)
                if number == 0:
                    writer.writerow(row)
                writer.writerow(row.values())
            empty = stream.tell() == 0
        if empty:
            (self.out / name).unlink()

    def _named(self, entry: Entry) -> dict[str, str]:
        return {"study": entry.key, **({"name": name_cell(entry.name)} if self.names else {})}

    def _result(self, entry: Entry) -> dict[str, Any]:
        row: dict[str, Any] = {
            **self._named(entry),
            "predictions": entry.predictions,
            "answer": name_cell(entry.answer),
        }
        probabilities = entry.figures.get("probabilities")
        if probabilities is not None:
            of_class = prediction_row(entry.key, np.asarray(probabilities), self.class_names)
            of_class.pop("image")
            row |= of_class
        else:
            for name, figures in entry.figures.items():
                row |= {f"{key}_{name}": "" if value is None else value for key, value in figures.items()}
        place = shard_of(entry.key)
        row |= {UNLIKE_TRAINING: name_cell(entry.unlike), "batch": entry.batch, "seconds": entry.seconds}
        return {**row, "folder": f"{place}/{entry.key}" if self.manifest.facts.get("input") == "images" else place}

    def _failure(self, entry: Entry) -> dict[str, Any]:
        counts = {"state": entry.state, "attempts": entry.attempts, "deaths": entry.deaths}
        return {**self._named(entry), **counts, "reason": name_cell(entry.reason)}

    def _summary(self, run: BulkRun | None, facts: Mapping[str, Any]) -> dict[str, Any]:
        whole = Batch(self.fingerprints or {})
        flagged = []
        for number, sums, flags in self.manifest.batches():
            whole.merge(sums)
            if flags:
                flagged.append({"batch": number, "studies": sums["studies"], "flags": flags})
        whole.studies, whole.unlike, whole.reasons = self.manifest.unlike()  # batches also count what is done again
        figures = {}
        if run is not None:
            figures = {
                "ended": run.ended,
                "workers died": run.deaths,
                "seconds": round(run.seconds, 3),
                "studies per second": round(run.rate, 4),
                "peak memory of a worker (MB)": run.peak_mb,
            }
        sums = whole.plain()
        return {
            "studies": self.manifest.counts(),
            "model": dict(self.model),
            "this run": {**figures, **facts},
            "manifest (MB)": round(self.manifest.path.stat().st_size / MB, 3),
            "drift": {
                "flags": list(whole.flags()),
                "unlike training": sums["unlike"],
                "of": sums["studies"],
                "reasons": sums["reasons"],
                "modalities": sums["modalities"],
                "distance of the mean intensities": {key: round(far, 5) for key, far in whole.distances().items()},
                "batches": flagged,
            },
        }

    def _lines(self, summary: Mapping[str, Any]) -> list[str]:
        counts, drift = summary["studies"], summary["drift"]
        lines = ["# Bulk inference", ""]
        lines += [f"- {name}: {markdown_text(value)}" for name, value in self.model.items()]
        lines += ["", "| studies | |", "|---|---|", *(f"| {state} | {count} |" for state, count in counts.items()), ""]
        lines += [f"- {name}: {markdown_text(value)}" for name, value in summary["this run"].items()]
        lines += ["", "## Inputs beside the images of the training", ""]
        if not self.fingerprints:
            lines.append(
                f"What the weights were trained with is {NOT_RECORDED}: nothing but voxel sizes and modality is"
            )
            lines += ["compared.", ""]
        lines.append(f"{drift['unlike training']} of {drift['of']} studies are unlike the training.")
        lines += [f"- {markdown_text(reason)}: {count}" for reason, count in drift["reasons"].items()]
        lines += [f"- distance of the mean intensities ({key}): {far:.4f}" for key, far in _far(drift)]
        lines += [f"- modality {markdown_text(name)}: {count}" for name, count in drift["modalities"].items()]
        if drift["flags"] or drift["batches"]:
            lines += ["", "**DRIFT.** Results may be wrong however sure they look."]
            lines += [f"- all: {markdown_text(flag)}" for flag in drift["flags"]]
            lines += [f"- batch {one['batch']}: {markdown_text(one['flags'])}" for one in drift["batches"][:SHOWN]]
        if counts["failed"]:
            lines += ["", "## Failed", ""]
            failed = self.manifest.entries(("failed",))
            for entry, _ in zip(failed, range(SHOWN), strict=False):
                name = entry.name if self.names and entry.name else entry.key
                lines.append(f"- {markdown_text(name)}: {markdown_text(entry.reason)}")
            if counts["failed"] > SHOWN:
                lines.append(f"- and {counts['failed'] - SHOWN} more in {FAILURES}")
        return lines


def _far(drift: Mapping[str, Any]) -> list[tuple[str, float]]:
    return list(drift["distance of the mean intensities"].items())
