"""What an export was, what was checked, and whether it may be used: as JSON and as a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..utils.text_files import markdown_text, write_text
from ..utils.versions import package_versions
from .checks import Check

__all__ = ["ExportReport", "FormatReport"]

PACKAGES = ("medssm-monai", "torch", "monai", "numpy", "onnx", "onnxruntime", "onnxscript")


@dataclass
class FormatReport:
    """One exported file.

    Attributes:
        format: name of the format.
        runtime: the program that ran it.
        file: name of the file; of a refused one the name it was left under, empty when none was written.
        checks: what was compared.
        size: bytes.
        seconds: median of one image on one thread; None when it was not timed.
        facts: further figures, such as ONNX's ``opset``.
    """

    format: str
    runtime: str
    file: str = ""
    checks: list[Check] = field(default_factory=list)
    size: int = 0
    seconds: float | None = None
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there were checks and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> list[str]:
        """The checks that failed, in words."""
        return [str(check) for check in self.checks if not check.passed]


@dataclass
class ExportReport:
    """The exports of one bundle.

    Attributes:
        bundle: name and version.
        weights: one line about them, or what stands for them.
        images: where the images of the comparison come from.
        input_shape: ``[C, *spatial]`` that the files hold for; any batch size.
        samples: number of images or windows that were compared, in batches of ``batch_sizes``.
        eager: backend of the scan in PyTorch, which the files were compared with.
        eager_seconds: median of one image in PyTorch on one thread.
        formats: one entry for each file.
        versions: of Python and packages.
        page: the written page, ``<stem>_export.md`` beside the files; None before :meth:`write`.
    """

    bundle: str
    weights: str
    images: str
    input_shape: list[int]
    samples: int
    batch_sizes: list[int]
    eager: str
    eager_seconds: float | None = None
    formats: list[FormatReport] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: package_versions(PACKAGES))
    page: Path | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether every export passed all its checks."""
        return bool(self.formats) and all(one.passed for one in self.formats)

    def as_dict(self) -> dict[str, object]:
        """For JSON; infinities become words."""
        content = {"passed": self.passed, **asdict(self)}
        content.pop("page")
        for entry, one in zip(content["formats"], self.formats, strict=True):
            entry["passed"] = one.passed
            for check in entry["checks"]:
                if isinstance(check["value"], float) and check["value"] == float("inf"):
                    check["value"] = "infinite"
        return content

    def as_markdown(self) -> str:
        """A page of one table and the failures."""
        lines = [f"# Export of {self.bundle}: {'passed' if self.passed else 'FAILED'}", ""]
        lines += [f"- Weights: {markdown_text(self.weights)}"]
        lines += [f"- Images of the comparison: {self.samples} from {markdown_text(self.images)}"]
        shape = " x ".join(map(str, self.input_shape))
        lines += [f"- Input: {shape}, any batch size (compared: {', '.join(map(str, self.batch_sizes))})"]
        lines += [f"- Compared with PyTorch, scan backend `{self.eager}`; times: one thread, one image, median", ""]
        lines += ["| runtime | file | checks | size, MB | ms | times eager |", "|---|---|---|---|---|---|"]
        if self.eager_seconds is not None:
            lines.append(f"| PyTorch (eager) | | | | {1e3 * self.eager_seconds:.1f} | 1 |")
        lines += [self._row(one) for one in self.formats]
        for one in self.formats:
            lines += ["", *(f"**{one.format} refused**: {failure}" for failure in one.failures)] if one.failures else []
        for one in self.formats:
            lines += ["", f"{one.format}: " + ", ".join(f"{k} {v}" for k, v in one.facts.items())] if one.facts else []
        lines += ["", "Versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items()), ""]
        return "\n".join(lines)

    def _row(self, one: FormatReport) -> str:
        figures = "; ".join(f"{c.name} {c.value:.2g}" for c in one.checks if isinstance(c.value, float))
        times = ["", ""]
        if one.seconds is not None:
            ratio = "" if not self.eager_seconds else f"{one.seconds / self.eager_seconds:.2g}"
            times = [f"{1e3 * one.seconds:.1f}", ratio]
        verdict = "passed" if one.passed else "REFUSED"
        cells = [one.runtime, f"`{one.file}`" if one.file else "none", f"{verdict}: {figures}" if figures else verdict]
        return "| " + " | ".join([*cells, f"{one.size / 1e6:.1f}", *times]) + " |"

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write ``<stem>_export.json`` and ``<stem>_export.md`` and return their paths."""
        page, data = folder / f"{stem}_export.md", folder / f"{stem}_export.json"
        write_text(data, json.dumps(self.as_dict(), indent=2) + "\n")
        write_text(page, self.as_markdown())
        self.page = page
        return data, page
