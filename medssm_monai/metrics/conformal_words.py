"""What calibrated thresholds say of an image, in words: the same in files, reports, pages and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .conformal import PredictionSets
from .conformal_risk import RiskThresholds

__all__ = ["as_percent", "empty_means", "full_means", "risk_promise", "set_promise", "set_words"]

LIKE_THESE = "for images like those of the calibration"


def as_percent(share: float) -> str:
    """``90 %`` of 0.9, ``97.5 %`` of 0.975."""
    return f"{round(100 * share, 6):g} %"


def set_promise(sets: PredictionSets) -> str:
    """What a set was calibrated to do."""
    of_which = "of the images of each class" if sets.method == "lac_by_class" else "of the images"
    return f"such sets are to hold the true class in {as_percent(sets.level)} {of_which}, {LIKE_THESE}"


def empty_means() -> str:
    """What a set without classes says."""
    return (
        "no class is as probable as the true one mostly was in the calibration: the network cannot judge the image, "
        "which does not mean that there is no finding; show it to a person"
    )


def full_means() -> str:
    """What a set of all classes says."""
    return "no class is ruled out: the network does not decide, show the image to a person"


def set_words(members: Sequence[str], sets: PredictionSets) -> str:
    """The set of one image as a sentence, with its promise.

    Args:
        members: classes in the set, the most probable first.
        sets: how it was made.
    """
    if not members:
        said = f"The set of classes is empty: {empty_means()}"
    elif len(members) == 1:
        said = f"The answer is {members[0]}"
    else:
        said = f"The answer is one of: {', '.join(members)}"
        said += f" ({full_means()})" if len(members) == sets.classes else ""
    return f"{said}; {set_promise(sets)}."


def risk_promise(risk: RiskThresholds) -> str:
    """What masks at the calibrated thresholds were calibrated to do, as a sentence with the thresholds."""
    at = _listed({name: f"{threshold:g}" for name, threshold in risk.thresholds.items()})
    return (
        f"Masks of what is more probable than the calibrated threshold ({at}) are to miss on average at most "
        f"{as_percent(1 - risk.level)} of an image's foreground of a class, {LIKE_THESE} that show it; a single image "
        "may miss more, and nothing is said of what is marked wrongly."
    )


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
