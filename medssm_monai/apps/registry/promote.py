"""A version becomes the champion once it is shown to be no worse than the one before, on a fixed evaluation set."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...bundle.registered import MODEL_ID, WEIGHTS_SHA256, Registry, registered_weights
from ...metrics import BootstrapInterval
from ...reports.sanity import FEWEST_CASES
from .evaluation import EvaluationSet, fingerprint, require_same_task, weights_fingerprint
from .figures import KEY_METRICS, Figures, difference

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["CHAMPION", "PROMOTED", "Rule", "Verdict", "decide", "promote"]

logger = logging.getLogger(__name__)
CHAMPION = "champion"
PROMOTED, FORCED, REFUSED, ALREADY = "promoted", "forced", "refused", "already"
EVALUATIONS, COMPARISONS = "evaluations", "comparisons"


@dataclass(frozen=True)
class Rule:
    """When a version takes the champion's place.

    Attributes:
        metric: mean over images (of a classification, the figure over all images); more is better. None: the task's.
        margin: how much worse it may be at most, 0 or more. The lower bound of the difference must not lie below its
            negative: 0 asks for a version that is shown to be no worse at all.
        floor: of the first version, which there is nothing to compare with: what the lower bound of its metric must
            reach. None: none was said, and it is refused; ``-inf``: none is wanted.
        force: why the alias is to move whatever the comparison says; None: it is not.
    """

    metric: str | None = None
    margin: float = 0.0
    floor: float | None = None
    force: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"margin is how much worse a version may be, 0 or more; got {self.margin}.")
        if self.floor is not None and math.isnan(self.floor):
            raise ValueError("floor must be a number, or none.")
        if self.force is not None and not self.force.strip():
            raise ValueError("--force needs a reason in words, which is kept with the version.")


@dataclass(frozen=True)
class Verdict:
    """What was decided, by which figures.

    Attributes:
        decision: ``"promoted"``, ``"forced"``, ``"refused"``, or ``"already"`` of the champion itself.
        why: in words.
        facts: what is kept with the version.
    """

    decision: str
    why: str
    facts: Mapping[str, Any]


def decide(own: Figures, champion: Figures | None, rule: Rule) -> Verdict:
    """Compare a version with the champion, or the first one with the floor.

    Raises:
        ValueError: evaluations that cannot be compared (:func:`~.figures.difference`), or another metric.
    """
    metric = rule.metric or KEY_METRICS[own.task]
    found = own.estimate(metric)
    facts: dict[str, Any] = {
        "metric": metric,
        "value": _numbers(found),
        "images": len(own.images),
        "unit": own.unit,
        "units": own.units,
        "confidence": own.bootstrap["confidence"],
        "data_fingerprint": own.data,
        "evaluation_fingerprint": own.settings,
    }
    share = f"{100 * own.bootstrap['confidence']:g} % interval"
    what = f"over {own.units} {own.unit}s"
    if champion is None:
        facts["floor"] = None if rule.floor is None or math.isinf(rule.floor) else rule.floor
        good, why = _above_floor(metric, found, rule.floor, f"{share} {what}")
    else:
        gap = difference(own, champion, metric)
        facts |= {"champion_value": _numbers(champion.estimate(metric)), "difference": _numbers(gap)}
        facts["margin"] = rule.margin
        good = gap.low >= -rule.margin
        why = f"{metric} differs by {gap.estimate:+.4f} ({share} {gap.low:+.4f} to {gap.high:+.4f} {what})"
        why += f", margin {rule.margin:g}: {_judged(gap, rule.margin)}"
    if own.units < FEWEST_CASES:
        why += f". Fewer than {FEWEST_CASES} {own.unit}s: such an interval is rough"
    if good:
        return Verdict(PROMOTED, why, facts)
    if rule.force is not None:
        return Verdict(FORCED, f"{why}. Forced: {rule.force}", facts | {"force": rule.force})
    return Verdict(REFUSED, why, facts)


def _above_floor(metric: str, found: BootstrapInterval, floor: float | None, share: str) -> tuple[bool, str]:
    said = f"{metric} is {found.estimate:.4f} ({share}: {found.low:.4f} to {found.high:.4f})"
    if floor is None:
        return False, f"{said}; there is no champion to compare with, so say what it must reach: --floor 0.8, or none"
    if math.isinf(floor):
        return True, f"{said}; the first version, no floor wanted"
    good = found.low >= floor
    return good, f"{said}; the first version, floor {floor:g} {'reached' if good else 'not reached by the lower bound'}"


def _judged(gap: BootstrapInterval, margin: float) -> str:
    if math.isnan(gap.low):
        return "no interval, as there are fewer than two of them"
    if gap.low >= -margin:
        return "better" if gap.low > 0 else "no worse"
    return "worse" if gap.high < 0 else "not shown to be no worse"


def _numbers(interval: BootstrapInterval) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in interval._asdict().items()}


def promote(
    name: str,
    number: int,
    registry: Registry,
    data: EvaluationSet,
    rule: Rule,
    alias: str = CHAMPION,
    reports: Path | None = None,
) -> Verdict:
    """Evaluate a version and the champion on the same images, decide, keep it with the version, and move the alias.

    Figures that are kept with a version for these very weights, images and settings are not computed again.

    Args:
        name, number: the model and its version.
        registry: where.
        data: the evaluation set.
        rule: when it takes the champion's place.
        alias: of the champion.
        reports: folder for the reports of both evaluations; None: they are not kept.

    Raises:
        ConnectionError, FileNotFoundError: as :meth:`~medssm_monai.bundle.registered.Registry.find`.
        ValueError: versions of different tasks, images that changed, kept figures that were changed.
        RowError: an evaluation that failed.
        RuntimeError: the alias moved while this was compared.
    """
    version = registry.version(name, number)
    champion = _champion(registry, name, alias)
    if champion is not None and champion.version == version.version:
        return Verdict(ALREADY, f"version {number} is the {alias} already", {})
    with tempfile.TemporaryDirectory(prefix="medssm-promotion-") as place:
        folder = reports or Path(place)
        weights = _weights(registry, version, data)
        both = [(version, weights)]
        if champion is not None:
            both.append((champion, _weights(registry, champion, data)))
            require_same_task(weights, both[1][1])
        items = data.items(weights, folder / f"v{number}")
        figures = [_figures(registry, one, file, data, items, folder) for one, file in both]
        verdict = decide(figures[0], figures[1] if champion is not None else None, rule)
        kept = _record(registry, version, champion, alias, verdict, Path(place))
    if verdict.decision != REFUSED:
        now = _champion(registry, name, alias)
        if (now and now.version) != (champion and champion.version):
            raise RuntimeError(
                f"the {alias} of {name} changed while this was compared; nothing was moved. Compare again."
            )
        registry.ask(lambda client: client.set_registered_model_alias(name, alias, version.version))
    logger.info("kept with version %s of %s: %s", version.version, name, kept)
    return verdict


def _champion(registry: Registry, name: str, alias: str) -> ModelVersion | None:
    model = registry.ask(lambda client: client.get_registered_model(name))
    return registry.version(name, int(model.aliases[alias])) if alias in model.aliases else None


def _weights(registry: Registry, version: ModelVersion, data: EvaluationSet) -> Path:
    address = f"models:/{version.name}/{version.version}"
    return Path(registered_weights(address, data.root, registry.uri))


def _figures(
    registry: Registry, version: ModelVersion, weights: Path, data: EvaluationSet, items: tuple[str, ...], folder: Path
) -> Figures:
    """Those kept with the version, or those of a new evaluation, which are kept then.

    Raises:
        ValueError: kept figures that were changed.
    """
    settings = data.settings_fingerprint()
    whose = weights_fingerprint(weights)
    key = hashlib.sha256(f"{fingerprint(items)} {settings} {whose}".encode()).hexdigest()[:16]
    path, tag = f"{EVALUATIONS}/{key}.json", f"evaluation.{key}"
    if tag in version.tags:
        with tempfile.TemporaryDirectory(prefix="medssm-figures-") as place:
            text = registry.download(version, path, Path(place)).read_text(encoding="utf8")
        if _digest(text) != version.tags[tag]:
            raise ValueError(
                f"{path} of version {version.version} of {version.name} was changed after it was written; remove the "
                f"tag {tag}, and compare again."
            )
        kept = Figures.of_json(text)
        if kept.images == items and kept.settings == settings and kept.weights == whose:
            logger.info("version %s: evaluated before on these images", version.version)
            return kept
    logger.info("version %s: evaluating %d items", version.version, len(items))
    found = data.evaluate(weights, items, folder / f"v{version.version}")
    text = found.as_json()
    _keep(registry, version, path, text)
    registry.set_tag(version, tag, _digest(text))
    return found


def _record(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    alias: str,
    verdict: Verdict,
    folder: Path,
) -> str:
    """Keep a verdict as a file and as tags of the version; returns the file's name there."""
    now = datetime.now(timezone.utc)
    facts = {
        "decision": verdict.decision,
        "why": verdict.why,
        "version": version.version,
        "weights_sha256": version.tags[WEIGHTS_SHA256],
        "alias": alias,
        "against": None if champion is None else champion.version,
        "against_weights_sha256": None if champion is None else champion.tags.get(WEIGHTS_SHA256),
        "by": getpass.getuser(),
        "at": now.isoformat(timespec="seconds"),
        **verdict.facts,
    }
    path = f"{COMPARISONS}/{now:%Y%m%d-%H%M%S-%f}.json"
    _keep(registry, version, path, json.dumps(facts, indent=2))
    for key, value in facts.items():
        tag, text = f"comparison.{key}", value if isinstance(value, str) else json.dumps(value)
        registry.set_tag(version, tag, text)
    return path


def _keep(registry: Registry, version: ModelVersion, path: str, text: str) -> None:
    with tempfile.TemporaryDirectory(prefix="medssm-kept-") as place:
        file = Path(place) / Path(path).name
        file.write_text(text, encoding="utf8")
        folder = Path(path).parent.as_posix()
        registry.ask(lambda client: client.log_model_artifact(version.tags[MODEL_ID], str(file), folder))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
