"""What a reader would do next, from figures and warnings."""

from __future__ import annotations

import math

import pytest

from medssm_monai.reports.next_steps import NOTHING_FOUND, next_steps

WIDE, NARROW = {"value": 0.6, "low": 0.4, "high": 0.8}, {"value": 0.9, "low": 0.88, "high": 0.92}
GOOD = {"images": 200, "warnings": []}


def steps(entry=NARROW, **more):
    return next_steps(GOOD | more, "dice", entry, "images")


def test_nothing_found_is_said():
    assert steps() == [NOTHING_FOUND]


def test_too_few_images_say_how_many_would_do():
    (step,) = steps(WIDE, images=10)
    assert "10 are too few" in step and "About 160 like these" in step  # four times as wide, sixteen times as many
    (step,) = steps({"low": math.nan, "high": math.nan}, images=1)
    assert "1 is too few" in step and "About" not in step
    (step,) = steps(images=500, groups=4)
    assert "groups of images: 4 are too few" in step


@pytest.mark.parametrize(
    ("warning", "says"),
    [
        ("constant output: all 9 masks are empty", "Do not use these weights"),
        ("share of foreground: 60 % predicted", "which values of the masks are foreground"),
        ("dice: the interval 0 to 1 does not lie above the floor", "Compare with the floors"),
    ],
)
def test_what_a_warning_asks_for(warning, says):
    (step,) = steps(warnings=[warning])
    assert says in step


def test_classes_without_images_are_named():
    (step,) = steps(per_class={"a": {"support": 3}, "b": {"support": 0}}, mean_confidence=None)
    assert "Add images of b" in step
    (step,) = steps(classes={"liver": {"present": 0}})
    assert "Add images of liver" in step


@pytest.mark.parametrize(("confidence", "says"), [(0.99, "too sure"), (0.7, "less sure"), (0.91, None)])
def test_confidence_outside_the_interval_of_the_accuracy(confidence, says):
    found = steps(mean_confidence=confidence, metrics={"accuracy": NARROW})
    assert (says in found[0]) if says else found == [NOTHING_FOUND]


def test_images_unlike_the_training():
    assert "3 of 200 images" in steps(unlike_training={"images": 3})[0]
    assert "all of them" in steps(unlike_training={"images": 200})[0]
    assert steps(unlike_training={"images": 0}) == [NOTHING_FOUND]


def test_subgroups_that_lie_apart_or_are_too_small():
    def entry(mean, half=0.02, few=False):
        return {"mean": mean, "low": mean - half, "high": mean + half, "too_few": few}

    columns = {"scanner": {"A": entry(0.9), "B": entry(0.7), "C": entry(0.89), "D": entry(0.2, few=True)}}
    found = steps(subgroups={"metric": "dice", "unit": "image", "fewest": 10, "columns": columns})
    assert [step for step in found if step.startswith("Look at")] == [
        "Look at scanner B: its interval of dice lies below the means of all others. Of many subgroups some differ by "
        "chance; confirm it on other images."
    ]
    assert "Add more of scanner D" in found[-1]
    same = {"sex": {"F": entry(0.9), "M": entry(0.89)}}
    assert steps(subgroups={"metric": "dice", "unit": "image", "fewest": 10, "columns": same}) == [NOTHING_FOUND]


def test_weights_that_are_not_calibrated_get_the_command():
    asked = next_steps(GOOD, "dice", NARROW, "images", "medssm calibrate mamba_mis --dataset_dir FOLDER")
    assert asked[0] == NOTHING_FOUND and len(asked) == 2
    assert "Run: medssm calibrate mamba_mis --dataset_dir FOLDER (" in asked[1] and "masks that miss little" in asked[1]
    of_classes = next_steps(GOOD | {"confusion_matrix": [], "mean_confidence": None}, "accuracy", NARROW, "images", "x")
    assert "sets of classes that hold the true one" in of_classes[-1]
    assert next_steps(GOOD | {"conformal": {}}, "dice", NARROW, "images", "x") == [NOTHING_FOUND]
