"""Which version becomes the champion: the comparison, the decision, and what is kept of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from medssm_monai.apps.registry import promote as promoting
from medssm_monai.apps.registry.evaluation import EvaluationSet, fingerprint, weights_fingerprint
from medssm_monai.apps.registry.figures import Figures, difference
from medssm_monai.apps.registry.main import main
from medssm_monai.apps.registry.promote import FORCED, PROMOTED, REFUSED, Rule, decide, promote

BOOTSTRAP = {"n_resamples": 500, "confidence": 0.95, "seed": 0}
IMAGES = tuple(f"{number:064x}" for number in range(24))


def segmentation(dice, groups=None, images=IMAGES, **changes):
    given = {"weights": "w", "data": fingerprint(images), "settings": "s", "task": "segmentation", "images": images}
    given |= {"groups": groups, "bootstrap": BOOTSTRAP, "scores": {"dice": list(dice), "hd95": list(dice)}}
    return Figures(**(given | changes))


RNG = np.random.default_rng(0)
BASE = RNG.uniform(0.6, 0.9, 24).tolist()


def moved(by, noise=0.0):
    return [value + by + noise * step for value, step in zip(BASE, RNG.standard_normal(24), strict=True)]


@pytest.mark.parametrize(
    ("own", "margin", "decision", "word"),
    [
        (moved(0.02, 0.005), 0.0, PROMOTED, "better"),
        (BASE, 0.0, PROMOTED, "no worse"),
        (moved(-0.02, 0.005), 0.0, REFUSED, "worse"),
        (moved(-0.02, 0.005), 0.05, PROMOTED, "no worse"),
        (moved(0.0, 0.05), 0.0, REFUSED, "not shown to be no worse"),
        (moved(0.0, 0.05), 0.05, PROMOTED, "no worse"),
    ],
)
def test_the_lower_bound_decides(own, margin, decision, word):
    verdict = decide(segmentation(own), segmentation(BASE), Rule(margin=margin))
    assert verdict.decision == decision and verdict.why.endswith(f": {word}")
    assert verdict.facts["images"] == 24 and verdict.facts["unit"] == "image"
    low = verdict.facts["difference"]["low"]
    assert (low >= -margin) == (decision == PROMOTED)


def test_the_interval_is_that_of_paired_resamples_of_groups():
    groups = tuple(number // 4 for number in range(24))
    own = [value + 0.01 * (number // 4 - 2) for number, value in enumerate(BASE)]
    found = difference(segmentation(own, groups), segmentation(BASE, groups), "dice")
    gaps = np.subtract(own, BASE).reshape(6, 4).mean(axis=1)  # groups of one size: means of their means
    draws = np.random.default_rng(1).integers(6, size=(20000, 6))
    assert found.estimate == pytest.approx(gaps.mean())
    assert found[1:] == pytest.approx(np.quantile(gaps[draws].mean(axis=1), [0.025, 0.975]), abs=2e-3)
    alone = difference(segmentation(own), segmentation(BASE), "dice")
    assert alone.high - alone.low < found.high - found.low
    verdict = decide(segmentation(own, groups), segmentation(BASE, groups), Rule())
    assert (verdict.facts["unit"], verdict.facts["units"]) == ("group", 6) and "Fewer than 20 groups" in verdict.why


def test_a_classification_is_compared_by_its_figure_over_all_images():
    labels = tuple(number % 2 for number in range(24))
    own, other = (np.clip(np.array(labels) * 0.4 + RNG.uniform(0, 0.6, 24), 0, 1) for _ in range(2))
    one, two = (
        segmentation(
            [], task="classification", scores={}, labels=labels, probabilities=tuple((1 - p, p) for p in values)
        )
        for values in (own, other)
    )
    found = difference(one, two, "roc_auc")
    assert found.estimate == pytest.approx(roc_auc_score(labels, own) - roc_auc_score(labels, other))
    assert found.low <= found.estimate <= found.high
    with pytest.raises(ValueError, match="different labels"):
        difference(one, replace(two, labels=labels[::-1]), "roc_auc")
    with pytest.raises(ValueError, match="'ece': more of it is not better"):
        difference(one, two, "ece")


@pytest.mark.parametrize(
    ("other", "metric", "said"),
    [
        (segmentation(BASE, images=IMAGES[:-1] + ("f" * 64,)), "dice", r"different images \(24 and 24, 23 in both\)"),
        (segmentation(BASE[:20], images=IMAGES[:20]), "dice", r"\(24 and 20, 20 in both\)"),
        (segmentation(BASE, settings="another"), "dice", "not evaluated by the same settings"),
        (segmentation(BASE, groups=(0,) * 24), "dice", "not evaluated by the same settings and groups"),
        (segmentation(BASE), "hd95", "more of it is not better"),
        (segmentation(BASE), "f1", "the evaluation does not have it"),
    ],
)
def test_what_cannot_be_compared_is_said(other, metric, said):
    with pytest.raises(ValueError, match=said):
        difference(segmentation(BASE), other, metric)


@pytest.mark.parametrize(
    ("floor", "decision", "said"),
    [
        (None, REFUSED, "say what it must reach"),
        (0.5, PROMOTED, "floor 0.5 reached"),
        (0.99, REFUSED, "not reached by the lower bound"),
        (float(np.mean(BASE)), REFUSED, "not reached by the lower bound"),  # the mean is, its lower bound is not
        (-math.inf, PROMOTED, "no floor wanted"),
    ],
)
def test_the_first_version_needs_a_floor(floor, decision, said):
    verdict = decide(segmentation(BASE), None, Rule(floor=floor))
    assert verdict.decision == decision and said in verdict.why


def test_one_unit_has_no_interval_and_is_refused():
    one = segmentation(BASE, groups=(0,) * 24)
    assert decide(one, one, Rule()).decision == REFUSED
    assert decide(one, None, Rule(floor=0.1)).decision == REFUSED


def test_a_reason_forces_and_stands_in_the_verdict():
    verdict = decide(segmentation(moved(-0.1)), segmentation(BASE), Rule(force="new scanner"))
    assert verdict.decision == FORCED and verdict.facts["force"] == "new scanner" and "worse. Forced" in verdict.why
    with pytest.raises(ValueError, match="needs a reason"):
        Rule(force=" ")
    with pytest.raises(ValueError, match="0 or more"):
        Rule(margin=-0.1)


def test_figures_are_the_same_after_they_were_kept():
    one = segmentation([*BASE[:-1], None], groups=tuple(range(24)), labels=(), probabilities=())
    assert Figures.of_json(one.as_json()) == one
    assert "png" not in one.as_json()


# ---- with a registry -------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    """A plain folder of images and masks."""
    folder = tmp_path / "Mueller_Anna"
    for number in range(24):
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            pixels = RNG.integers(0, 2 if kind == "masks" else 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels * (255 if kind == "masks" else 1)).save(folder / kind / f"p{number:02d}.png")
    return folder


@pytest.fixture
def evaluated(monkeypatch, fresh):
    """Evaluations that are made up, by the seed of the weights; which ones were asked for."""
    asked = []
    root = fresh.bundle("mamba_mis")
    own = {weights_fingerprint(root / "models" / f"{name}.pt"): name for name in ("model", "seed1")}

    def evaluate(self, weights, items, folder):
        name = own[weights_fingerprint(weights)]
        asked.append(name)
        dice = [value + (0.05 if name == "seed1" else 0) for value in BASE[: len(items)]]
        return segmentation(
            dice,
            images=items,
            weights=weights_fingerprint(weights),
            data=fingerprint(items),
            settings=self.settings_fingerprint(),
        )

    monkeypatch.setattr(EvaluationSet, "evaluate", evaluate)
    fresh.registry.client.delete_registered_model_alias("lesions", "champion")
    return asked


@pytest.fixture
def data(fresh, images):
    return EvaluationSet(fresh.bundle("mamba_mis"), str(images), part="all")


def champion(place):
    return place.registry.version("lesions", "champion").version


def test_versions_become_champions_one_after_the_other(fresh, data, images, evaluated):
    registry = fresh.registry
    refused = promote("lesions", 1, registry, data, Rule())
    assert refused.decision == REFUSED and registry.client.get_registered_model("lesions").aliases == {}
    assert registry.version("lesions", 1).tags["comparison.decision"] == REFUSED
    assert promote("lesions", 1, registry, data, Rule(floor=0.5)).decision == PROMOTED
    assert promote("lesions", 2, registry, data, Rule()).decision == PROMOTED and champion(fresh) == 2
    assert evaluated == ["model", "seed1"]  # each once
    assert promote("lesions", 2, registry, data, Rule()).decision == "already"
    assert promote("lesions", 1, registry, data, Rule()).decision == REFUSED and champion(fresh) == 2
    assert promote("lesions", 1, registry, data, Rule(force="rollback")).decision == FORCED and champion(fresh) == 1
    tags = registry.version("lesions", 1).tags
    assert (tags["comparison.against"], tags["comparison.force"]) == ("2", "rollback")
    assert json.loads(tags["comparison.difference"])["estimate"] == pytest.approx(-0.05)
    assert json.loads(tags["comparison.images"]) == 24 and tags["comparison.at"].endswith("+00:00")
    kept = sorted((fresh.artifacts("lesions", 1) / "comparisons").iterdir())
    assert [json.loads(file.read_text())["decision"] for file in kept] == [REFUSED, PROMOTED, REFUSED, FORCED]
    for file in fresh.artifacts("lesions", 1).rglob("*"):
        assert file.is_dir() or not any(name in file.read_bytes() for name in (b"Mueller", b"p01.png"))


def test_other_images_are_evaluated_anew_for_both(fresh, data, images, evaluated):
    promote("lesions", 1, fresh.registry, data, Rule(floor=-math.inf))
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(images / "images" / "p00.png")
    assert promote("lesions", 2, fresh.registry, data, Rule()).decision == PROMOTED
    assert evaluated == ["model", "seed1", "model"]


def test_an_evaluation_set_is_known_by_its_content(fresh, data, images, tmp_path):
    weights = fresh.bundle("mamba_mis") / "models" / "model.pt"
    before = data.items(weights, tmp_path / "x")
    assert len(before) == len(set(before)) == 24
    moved_to = tmp_path / "elsewhere"
    images.rename(moved_to)
    for kind in ("images", "masks"):
        for file in (moved_to / kind).iterdir():
            file.rename(file.with_name(f"case_{file.name[1:]}"))
    there = replace(data, dataset_dir=str(moved_to))
    assert there.items(weights, tmp_path / "x") == before
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(moved_to / "masks" / "case_03.png")
    after = there.items(weights, tmp_path / "x")
    assert [a == b for a, b in zip(before, after, strict=True)] == [number != 3 for number in range(24)]
    with pytest.raises(ValueError, match="unknown parts \\['tset'\\]"):
        replace(there, part="tset").items(weights, tmp_path / "x")


def test_kept_figures_that_were_changed_are_not_used(fresh, data, evaluated):
    promote("lesions", 1, fresh.registry, data, Rule(floor=0.5))
    (file,) = (fresh.artifacts("lesions", 1) / "evaluations").iterdir()
    file.write_text(file.read_text().replace("0.", "0.0"))
    with pytest.raises(ValueError, match="was changed after it was written"):
        promote("lesions", 2, fresh.registry, data, Rule())


def test_a_champion_that_changes_meanwhile_is_not_overwritten(fresh, data, evaluated, monkeypatch):
    promote("lesions", 1, fresh.registry, data, Rule(floor=0.5))
    decide_first = promoting.decide

    def decide_late(*arguments):
        fresh.registry.client.delete_registered_model_alias("lesions", "champion")
        return decide_first(*arguments)

    monkeypatch.setattr(promoting, "decide", decide_late)
    with pytest.raises(RuntimeError, match="changed while this was compared"):
        promote("lesions", 2, fresh.registry, data, Rule())
    assert fresh.registry.client.get_registered_model("lesions").aliases == {}


def test_the_command_says_what_it_decided_by_its_exit_status(fresh, images, evaluated, capsys):
    words = ["--data", str(images), "--part", "all", "--tracking_uri", fresh.uri]
    words += ["--bundle", str(fresh.bundle("mamba_mis"))]
    assert main(["promote", "lesions", "1", *words]) == 3
    assert "Refused: version 1 of lesions as champion" in capsys.readouterr().out
    assert main(["promote", "lesions", "1", *words, "--floor", "none"]) == 0
    assert main(["promote", "lesions", "2", *words]) == 0
    assert "Promoted: version 2" in capsys.readouterr().out
    assert main(["promote", "lesions", "9", *words]) == 2
    assert "no version 9" in capsys.readouterr().err
    assert main(["promote", "none", "1", *words]) == 2
    assert main(["promote", "lesions", "1", *words, "--", "--no_such_key", "1"]) in (2, 3)
