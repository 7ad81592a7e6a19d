"""What the reader of an evaluation would do next, from its figures and warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .sanity import FEWEST_CASES

__all__ = ["NOTHING_FOUND", "next_steps"]

WANTED = 0.05  # half width of an interval that tells networks apart
NOTHING_FOUND = (
    "Nothing stands out in these figures. Look at the worst cases, and confirm the figures on images of another place "
    "before anybody relies on them."
)
Entry = Mapping[str, float]


def next_steps(
    summary: Mapping[str, Any], figure: str, entry: Entry, counted: str, calibrate: str | None = None
) -> list[str]:
    """Sentences, the most urgent first; one that says that nothing was found where nothing was.

    Args:
        summary: of the evaluation, with its warnings.
        figure: name of the figure that the evaluation goes by.
        entry: that figure, ``low`` and ``high``.
        counted: what was evaluated ("images", "pairs").
        calibrate: command that calibrates the weights, where they could be and are not.
    """
    found = [*_of_output(summary), *_of_data(summary, counted)]
    found += _of_size(summary, figure, entry, counted)
    found += [*_of_calibration(summary), *_of_subgroups(summary)]
    return [*(found or [NOTHING_FOUND]), *_of_thresholds(summary, calibrate)]


def _of_output(summary: Mapping[str, Any]) -> Iterator[str]:
    warnings = summary["warnings"]
    if any("constant output" in warning for warning in warnings):
        yield (
            "Do not use these weights on images like these: the output does not depend on the image. Check that the "
            "images have the intensities and channels of the training (model.json beside the weights), then train "
            "longer, or with a smaller learning_rate."
        )
    elif any("share of foreground" in warning for warning in warnings):
        yield (
            "Look at the worst cases: far more, or less, is outlined than the labels hold. Check which values of the "
            "masks are foreground, and choose the threshold on the validation part."
        )
    elif any("does not lie above" in warning for warning in warnings):
        yield (
            "Compare with the floors: an answer that looks at no image is not clearly worse here. Evaluate more cases, "
            "or train on images like these, before the figures are used."
        )


def _of_data(summary: Mapping[str, Any], counted: str) -> Iterator[str]:
    missing = [name for name, entry in summary.get("per_class", {}).items() if entry["support"] == 0]
    missing += [name for name, entry in summary.get("classes", {}).items() if entry["present"] == 0]
    if missing:
        yield (
            f"Add {counted} of {', '.join(missing)}: there are none in this part, so nothing is known about it. A "
            "split_file, or another seed of the split, spreads rare classes over the parts."
        )
    unlike = summary.get("unlike_training", {}).get("images", 0)
    if unlike:
        every = unlike == summary["images"]
        which = f"{counted}: all of them" if every else f"{unlike} of {summary['images']} {counted} that"
        apart = "do not take these figures for those of the weights' own kind" if every else "evaluate them apart"
        yield (
            f"Look at the {which} are unlike the training images (size, colors or intensities): {apart}, and train on "
            "such images if they are meant to be predicted."
        )


def _of_size(summary: Mapping[str, Any], figure: str, entry: Entry, counted: str) -> Iterator[str]:
    units = summary.get("groups", summary["images"])
    if units >= FEWEST_CASES:
        return
    what = f"groups of {counted}" if "groups" in summary else counted
    half = (entry["high"] - entry["low"]) / 2
    wanted = f"Evaluate more {what}: {units} {'is' if units == 1 else 'are'} too few to rely on the intervals."
    if math.isfinite(half) and half > WANTED:
        many = math.ceil(units * (half / WANTED) ** 2)
        wanted += f" About {many} like these would narrow that of {figure} to \u00b1 {WANTED}."
    yield wanted


def _of_calibration(summary: Mapping[str, Any]) -> Iterator[str]:
    confidence = summary.get("mean_confidence")
    if confidence is None or summary["images"] < FEWEST_CASES:
        return
    accuracy = summary["metrics"]["accuracy"]
    if accuracy["low"] <= confidence <= accuracy["high"]:
        return
    how = "too sure" if confidence > accuracy["value"] else "less sure than it could be"
    yield (
        f"Do not read the probabilities as chances yet: the network is {how} (mean confidence {confidence:.3f}, "
        f"accuracy {accuracy['value']:.3f}, outside its interval). A training fits a temperature to its validation "
        "part (model.json); fit it on images like these."
    )


def _of_thresholds(summary: Mapping[str, Any], calibrate: str | None) -> Iterator[str]:
    if calibrate is None or "conformal" in summary:
        return
    what = "sets of classes that hold the true one" if "confusion_matrix" in summary else "masks that miss little"
    yield (
        f"Calibrate the weights: no threshold for these settings is stored with them, so that nothing is promised of "
        f"single answers. Run: {calibrate} (validation images in, {what} at a stated rate out; then evaluate again)."
    )


def _of_subgroups(summary: Mapping[str, Any]) -> Iterator[str]:
    found = summary.get("subgroups")
    if found is None:
        return
    few = []
    for column, values in found["columns"].items():
        few += [f"{column} {value}" for value, entry in values.items() if entry["too_few"]]
        for value, entry in values.items():
            others = [other["mean"] for key, other in values.items() if key != value and not other["too_few"]]
            if entry["too_few"] or not others or min(others) <= entry["high"] and max(others) >= entry["low"]:
                continue
            where = "above" if entry["low"] > max(others) else "below"
            yield (
                f"Look at {column} {value}: its interval of {found['metric']} lies {where} the means of all others. Of "
                "many subgroups some differ by chance; confirm it on other images."
            )
    if few:
        yield f"Add more of {', '.join(few)}: under {found['fewest']} {found['unit']}s say nothing of a subgroup."
