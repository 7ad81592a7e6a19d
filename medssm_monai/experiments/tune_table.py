"""What comes out of a study: a table of its trials, the best one first, and the best settings as an overlay."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..utils import replace_file
from ..utils.text_files import open_text

__all__ = ["BEST", "best_trial", "trial_page", "write_best", "write_trials"]

BEST = "best.yaml"
FACTS = ("name", "status", "score", "best_epoch", "epochs")
LAST = ("training_seconds", "folder", "error")
STATES = {"done": 0, "pruned": 1}
Trial = Mapping[str, Any]


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: (STATES.get(trial["status"], 2), -(trial.get("score") or 0.0)))


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the largest validation figure, the first of equals; None where none is complete."""
    done = [trial for trial in trials if trial["status"] == "done" and trial.get("score") is not None]
    return max(done, key=lambda trial: trial["score"]) if done else None


def write_trials(trials: Sequence[Trial], keys: Sequence[str], file: Path) -> None:
    """One line per trial, the best first, with all digits; a column for each key that is searched."""
    with replace_file(file) as part, open_text(part) as stream:
        writer = csv.DictWriter(stream, [*FACTS, *keys, *LAST], extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows({**trial, **trial["values"]} for trial in _ranked(trials))


def write_best(trial: Trial, metric: str, file: Path) -> None:
    """The settings of a trial as an overlay over ``train.yaml``."""
    head = (
        f"# {trial['name']}: {metric} {trial['score']:.4f} on the validation part, after epoch {trial['best_epoch']}.\n"
    )
    content = yaml.safe_dump(dict(trial["values"]), sort_keys=False)
    with replace_file(file) as part:
        part.write_text(f"{head}# An overlay over train.yaml.\n{content}", encoding="utf8")


def trial_page(trials: Sequence[Trial], keys: Sequence[str], metric: str, heading: str, command: str, then: str) -> str:
    """The table as a page to read.

    Args:
        trials: with ``name``, ``status``, ``values`` (by key), and what is known of ``score``, ``best_epoch``,
            ``epochs``, ``training_seconds`` and ``error``.
        keys: that are searched.
        metric: name of the score.
        heading: of the page.
        command: that was typed.
        then: command that takes the best settings.
    """
    page = [f"# {heading}", "", f"`{command}`", ""]
    head = ["", metric, "epoch", "epochs", *keys, "min"]
    page += [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for trial in _ranked(trials):
        known = trial.get("score") is not None
        score = f"{trial['score']:.4f}" if known else trial["status"]
        score += " (pruned)" if known and trial["status"] == "pruned" else ""
        seconds = trial.get("training_seconds")
        cells = [trial["name"], score, trial.get("best_epoch", ""), trial.get("epochs", "")]
        cells += [trial["values"].get(key, "") for key in keys]
        cells += ["" if seconds is None else f"{seconds / 60:.1f}"]
        page.append(f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |")
    best = best_trial(trials)
    done = [trial["score"] for trial in trials if trial["status"] == "done" and trial.get("score") is not None]
    if best is not None:
        spread = f", median {statistics.median(done):.4f}" if len(done) > 2 else ""
        page += [
            "",
            f"Best: {best['name']}, {metric} {best['score']:.4f} on the validation part "
            f"({len(done)} complete{spread}). The largest of several is too good an estimate, since the validation "
            "part chose it. No trial was evaluated on the test part; do that once, with the best settings trained "
            "anew, or with several seeds (`compare`).",
            "",
            f"`{then}`",
        ]
    else:
        page += ["", "No trial is complete."]
    failed = [trial for trial in trials if trial.get("error")]
    page += ["", *(f"* **{trial['name']}** failed: {trial['error']}" for trial in failed)]
    return "\n".join(page).rstrip() + "\n"
