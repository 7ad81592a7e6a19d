"""The export of a bundle: write, run in the format's own runtime, compare, and only then give the file its name."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..ops import backend_for
from ..utils import keep_previous, writable_folder
from .capture import Capture
from .checks import Check, compare, rounding_error
from .formats import FORMATS, Format
from .latency import latencies, one_thread
from .report import ExportReport, FormatReport
from .samples import BATCH_SIZES, in_batches, network_inputs
from .source import Source, open_source

__all__ = ["export_bundle"]

logger = logging.getLogger(__name__)

Runner = Callable[[Tensor], Tensor]


def export_bundle(
    bundle: str | os.PathLike[str],
    formats: Sequence[str] = tuple(FORMATS),
    output_dir: str | os.PathLike[str] | None = None,
    *,
    ckpt_path: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    samples: int = 8,
    untrained: bool = False,
    seed: int = 0,
    repeats: int = 7,
    overrides: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Export a bundle's network, compare every file with PyTorch in the file's own runtime, and write a report.

    Each file is first written into a temporary folder, under the name that it will have: PyTorch names the inside of an
    archive after its file, and MONAI Deploy looks there. If it passes all checks it becomes ``<stem><suffix>`` (an
    earlier file of that name is kept under a dated one); if not, it becomes ``<stem>.refused<suffix>``, the report says
    why, and an earlier file stays where it is. The report is ``<stem>_export.json`` and ``<stem>_export.md`` beside the
    files.

    Checks: the file carries the bundle's metadata, inference config and model settings; batches of 1, 2 and 3 run; the
    relative error (see :func:`~medssm_monai.export.checks.relative_error`) is at most 1e-4, or four times what rounding
    to float32 does in PyTorch itself; masks agree in at least 99.9 % of the pixels, classes in all images.

    Args:
        bundle: its folder or name.
        formats: names among :data:`~medssm_monai.export.FORMATS`.
        output_dir: default the folder of the weights where it is the bundle's own, else its ``models/``.
        ckpt_path: weights; default those the bundle's inference takes.
        images: images for the comparison, whatever the bundle's ``dataset_dir`` takes; default its synthetic demo
            images. They pass the bundle's own preprocessing and inferer, and decide the image size.
        samples: images, or windows of them, to compare.
        untrained, seed: random weights instead of a checkpoint, see :func:`~medssm_monai.export.source.open_source`.
        repeats: rounds of the timing; 0 leaves it out.
        overrides: other values for keys of ``inference.yaml``.

    Returns:
        The report; look at its ``passed``.

    Raises:
        ValueError: an unknown format; what :func:`open_source` and :func:`network_inputs` raise.
        FileNotFoundError: no such bundle, weights or images.
        ImportError: the packages that ONNX needs are missing.
    """
    chosen = _formats(formats)
    source = open_source(bundle, ckpt_path, untrained, seed, overrides)
    folder = Path(output_dir) if output_dir is not None else source.folder
    writable_folder(folder)
    inputs, where = network_inputs(source, None if images is None else os.fspath(images), samples)
    batches = in_batches(inputs)
    metadata = source.metadata
    report = ExportReport(
        bundle=f"{metadata['name']} {metadata['version']}",
        weights=source.weights,
        images=where,
        input_shape=list(inputs.shape[1:]),
        samples=len(inputs),
        batch_sizes=list(BATCH_SIZES),
        eager=backend_for(inputs),
    )
    capture = Capture(source.network, batches[1])
    with one_thread(), torch.no_grad():
        expected = [source.network(batch) for batch in batches]
        rounding = cache(partial(rounding_error, source.network, batches, expected))
        runners: dict[str, Runner] = {}
        for one in chosen:
            entry, runner = _export(one, capture, source, folder, batches, expected, rounding)
            report.formats.append(entry)
            if runner is not None:
                runners[one.name] = runner
        if repeats:
            timed = latencies({"eager": source.network, **runners}, inputs[:1], repeats)
            report.eager_seconds = timed["eager"]
            for entry in report.formats:
                entry.seconds = timed.get(entry.format)
    report.write(folder, source.stem)
    return report


def _formats(names: Sequence[str]) -> list[Format]:
    unknown = sorted(set(names) - set(FORMATS))
    if unknown or not names:
        raise ValueError(f"unknown formats {unknown}; choose among {sorted(FORMATS)}.")
    chosen = [FORMATS[name] for name in dict.fromkeys(names)]
    for one in chosen:
        one.require()
    return chosen


def _export(
    one: Format,
    capture: Capture,
    source: Source,
    folder: Path,
    batches: list[Tensor],
    expected: list[Tensor],
    rounding: Callable[[], float],
) -> tuple[FormatReport, Runner | None]:
    """Write, check and name one file; the runner of one that passed."""
    entry = FormatReport(one.name, one.runtime)
    final = folder / f"{source.stem}{one.suffix}"
    refused = final.with_name(f"{source.stem}.refused{one.suffix}")
    refused.unlink(missing_ok=True)
    runner = None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unverified-") as unverified:
        draft = Path(unverified) / final.name  # PyTorch names the inside of an archive after its file
        try:
            one.write(capture, draft, source.extra)
            found = dict.fromkeys(source.extra, "")
            runner = one.load(draft, found)
            entry.checks.append(_carries(found, source.extra))
            entry.checks += compare([runner(batch) for batch in batches], expected, source.task, rounding)
            entry.facts = one.facts(draft)
        except Exception as error:  # exporters and runtimes raise many kinds; each of them is a refusal
            logger.exception("%s: the export failed", one.name)
            first = next(iter(str(error).strip().splitlines()), "")
            entry.checks.append(Check("runs", f"{type(error).__name__}: {first}", "without an error", False))
        if draft.is_file():
            named = final if entry.passed else refused
            if entry.passed:
                keep_previous(final, move=False)
            os.replace(draft, named)
            entry.file, entry.size = named.name, named.stat().st_size
    logger.info("%s: %s", one.name, "; ".join(map(str, entry.checks)))
    return entry, runner if entry.passed else None


def _carries(found: Mapping[str, str], extra: Mapping[str, str]) -> Check:
    """Whether the file carries metadata, inference config and settings, each as it is in the bundle."""
    wrong = [name for name, text in extra.items() if not found.get(name) or json.loads(found[name]) != json.loads(text)]
    return Check("carried files", f"missing or changed: {', '.join(wrong)}" if wrong else "all", "all", not wrong)
