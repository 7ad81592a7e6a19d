"""Draw ``docs/images/networks/*.svg`` from the networks themselves:

    python docs/draw_networks.py [FOLDER]

Where a box stands is written here; what it says (class, number of blocks, size of its output, parameters) is read from
the network while an image passes through it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch
import torch.nn as nn
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import medssm_monai

FOLDER = Path(__file__).resolve().parent / "images" / "networks"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "medssm", "font.family": "DejaVu Sans", "font.size": 8.5}
COLORS = {"scan": "#cfe3f7", "conv": "#d9efd8", "join": "#fbe3c2", "plain": "#eceff2"}
LEGEND = {"scan": "selective scans", "conv": "convolutions, spectral filters", "join": "joins", "plain": "linear, norm"}
INCHES, MARGIN = 0.78, 0.95
"""Of one unit of the drawings, and units below the lowest box."""
INK, LINE = "#1c2733", "#5b6b7b"


@dataclass(frozen=True)
class Box:
    """A part of a network.

    Attributes:
        part: names of its modules, ``"encoder.0"``, whose parameters are counted together; the first says the class and
            its output the size.
        at: center.
        kind: of :data:`COLORS`.
        title: what the box is called; the name of the first module where it is empty.
        channels: axis of the channels in the output.
        size: width and height.
    """

    part: str | tuple[str, ...]
    at: tuple[float, float]
    kind: str
    title: str = ""
    channels: int = -1
    size: tuple[float, float] = (2.1, 1.08)

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.part,) if isinstance(self.part, str) else self.part


@dataclass(frozen=True)
class Drawing:
    """A network and where its parts stand."""

    variant: str
    settings: dict[str, Any]
    input: tuple[int, ...]
    boxes: dict[str, Box]
    arrows: Sequence[tuple[str, str] | tuple[str, str, str]]
    notes: Sequence[tuple[float, float, str]] = ()


def _mamba_mis() -> Drawing:
    levels = (4.5, 3.0, 1.5, 0.0)
    boxes = {"patch": Box("patch_embed", (1.2, 6.0), "conv", "patch embedding")}
    for i, y in enumerate(levels):
        boxes[f"e{i}"] = Box(f"encoder.{i}", (1.2, y), "scan", f"encoder {i + 1}")
        boxes[f"d{3 - i}"] = Box(f"decoder.{3 - i}", (7.2, y), "scan", f"decoder {4 - i}")
    boxes["bridge"] = Box("bridge", (4.2, 2.25), "join", "bridge (AMFFB)", size=(1.95, 5.6))
    boxes["d4"] = Box("decoder.4", (7.2, 6.0), "scan", "decoder 5")
    boxes["head"] = Box("head", (9.9, 6.0), "plain", "logits", channels=1)
    arrows = [("image", "patch"), ("patch", "e0"), ("e0", "e1"), ("e1", "e2"), ("e2", "e3")]
    arrows += [(f"e{i}", "bridge") for i in range(4)] + [("bridge", f"d{i}") for i in range(4)]
    arrows += [("d0", "d1"), ("d1", "d2"), ("d2", "d3"), ("d3", "d4"), ("d4", "head")]
    notes = [(1.32, y - 0.75, "patch merging") for y in levels[:3]]
    notes += [(7.32, y + 0.75, "patch expansion") for y in levels]
    return Drawing("mamba_mis_s", {"img_size": 256}, (3, 256, 256), boxes, arrows, notes)


def _medconvmamba() -> Drawing:
    wide = (2.0, 1.08)
    boxes = {
        "patch": Box("patch_embed", (1.1, 2.4), "conv", "patch embedding", size=wide),
        "blocks": Box("blocks", (3.7, 2.4), "scan", "blocks", size=wide),
        "fusion": Box("fusion", (6.3, 2.4), "join", "fusion of the map", size=wide),
        "head": Box("head", (8.9, 2.4), "plain", "logits", size=wide),
        "conv": Box("blocks.0.conv", (1.1, 0.4), "conv", "3 × 3 convolution", channels=1, size=wide),
        "norm": Box("blocks.0.norm", (3.7, 0.4), "plain", "norm", size=wide),
        "mixer": Box("blocks.0.mixer", (6.3, 0.4), "scan", "mixer", size=wide),
    }
    arrows = [("image", "patch"), ("patch", "blocks"), ("blocks", "fusion"), ("fusion", "head")]
    arrows += [("conv", "norm"), ("norm", "mixer"), ("conv", "mixer", "+ residual")]
    notes = [(0.1, 1.3, "one of the blocks:")]
    return Drawing("medconvmamba_t", {"num_classes": 2}, (3, 224, 224), boxes, arrows, notes)


def _medspectralnet() -> Drawing:
    boxes = {
        "trunk": Box("trunk", (1.2, 1.4), "conv", "trunk", channels=1),
        "flow1": Box("spectral_flow1", (4.0, 2.8), "conv", "SpectralFlow 1", channels=1),
        "gate": Box("context_gate", (4.0, 0.0), "join", "ContextGate", channels=1),
        "sum": Box((), (5.9, 1.4), "join", "+", size=(0.6, 0.6)),
        "flow2": Box("spectral_flow2", (7.7, 1.4), "conv", "SpectralFlow 2", channels=1),
        "norm": Box("norm", (10.2, 1.4), "plain", "norm, then mean", channels=1),
        "head": Box("head", (12.7, 1.4), "plain", "logits"),
    }
    arrows = [("image", "trunk"), ("trunk", "flow1"), ("trunk", "gate"), ("trunk", "sum"), ("flow1", "sum")]
    arrows += [("gate", "sum"), ("sum", "flow2"), ("flow2", "norm"), ("norm", "head")]
    return Drawing("medspectralnet", {"num_classes": 2}, (3, 224, 224), boxes, arrows)


def _clinical_fmamba() -> Drawing:
    tall = (2.1, 2.58)
    boxes = {
        "stem": Box("stem", (1.2, 0.75), "conv", "stem, for both", channels=1),
        "encoder": Box("encoder", (3.7, 0.75), "conv", "encoder, for both", channels=1),
        "mamba_a": Box("mamba_a", (6.2, 1.5), "scan", "blocks of source A"),
        "mamba_b": Box("mamba_b", (6.2, 0.0), "scan", "blocks of source B"),
        "exchange": Box(("exchange.1", "exchange.0"), (8.7, 0.75), "join", "channel exchange", size=tall),
        "cross_a": Box("cross_a", (11.2, 1.5), "scan", "A, steered by B"),
        "cross_b": Box("cross_b", (11.2, 0.0), "scan", "B, steered by A"),
        "fuse": Box("fuse", (11.2, -1.9), "join", "mean, linear layer"),
        "refine": Box("refine", (8.7, -1.9), "scan", "plain Mamba blocks"),
        "decoder": Box("decoder", (6.2, -1.9), "conv", "decoder", channels=1),
        "excite": Box("excite", (1.2, -1.9), "conv", "excitation", channels=1),
        "head": Box("head", (3.7, -1.9), "plain", "fused image", channels=1),
    }
    arrows = [("image", "stem"), ("stem", "encoder"), ("encoder", "mamba_a"), ("encoder", "mamba_b")]
    arrows += [("mamba_a", "exchange"), ("mamba_b", "exchange"), ("exchange", "cross_a"), ("exchange", "cross_b")]
    arrows += [("cross_a", "fuse", "around"), ("cross_b", "fuse"), ("fuse", "refine"), ("refine", "decoder")]
    arrows += [("decoder", "head"), ("stem", "excite"), ("excite", "head")]
    return Drawing("clinical_fmamba_2d", {}, (2, 256, 256), boxes, arrows)


DRAWINGS = {
    "mamba_mis": _mamba_mis,
    "medconvmamba": _medconvmamba,
    "medspectralnet": _medspectralnet,
    "clinical_fmamba": _clinical_fmamba,
}


def facts(drawing: Drawing) -> tuple[dict[str, list[str]], int]:
    """Lines of each box below its title, and the parameters of the whole network."""
    network = medssm_monai.get_network(drawing.variant, **drawing.settings).eval()
    shapes: dict[str, list[tuple[int, ...]]] = {}
    modules = dict(network.named_modules())

    def keep(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            outputs = output if isinstance(output, (tuple, list)) else [output]
            shapes[name] = [tuple(each.shape) for each in outputs]

        return hook

    for box in drawing.boxes.values():
        for part in box.parts[:1]:
            modules[part].register_forward_hook(keep(part))
    with torch.no_grad():
        network(torch.rand(1, *drawing.input))
    lines = {}
    for key, box in drawing.boxes.items():
        if box.parts:
            first = modules[box.parts[0]]
            count = sum(p.numel() for part in box.parts for p in modules[part].parameters())
            of = f"{count:,} parameters" if count else "no parameters"
            lines[key] = [_class(first, len(box.parts)), _size(shapes[box.parts[0]], box.channels), of]
    return lines, sum(p.numel() for p in network.parameters())


def _class(module: nn.Module, count: int) -> str:
    """Class of a part: of a chain of blocks theirs, with their number."""
    if not isinstance(module, nn.Sequential):
        return f"{count} × {type(module).__name__}" if count > 1 else type(module).__name__
    blocks = [child for child in module if list(child.children())]
    inner = blocks[0]
    if isinstance(inner, nn.Sequential):  # a level: a step between sizes, and what follows
        inner = next((child for child in inner if list(child.children())), inner[0])
        return f"{len(blocks)} levels, {'up' if isinstance(blocks[0][0], nn.Upsample) else type(inner).__name__}"
    return f"{len(blocks)} × {type(inner).__name__}"


def _size(shapes: list[tuple[int, ...]], channels: int) -> str:
    if len(shapes) > 1:
        return f"{len(shapes)} maps"
    own = list(shapes[0][1:])
    if len(own) == 1:
        return f"{own[0]} values"
    depth = own.pop(-1 if channels == -1 else 0)
    return " × ".join(map(str, [*own, depth]))


def draw(name: str, folder: Path = FOLDER) -> Path:
    """Write the picture of one network."""
    drawing = DRAWINGS[name]()
    lines, parameters = facts(drawing)
    with matplotlib.rc_context(STYLE):
        boxes = drawing.boxes.values()
        low = min(box.at[1] - box.size[1] / 2 for box in boxes) - MARGIN
        high = max(box.at[1] + box.size[1] / 2 for box in boxes) + 0.25
        right = max(box.at[0] + box.size[0] / 2 for box in boxes) + 0.65
        figure = Figure(figsize=((right + 1.0) * INCHES, (high - low) * INCHES))
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(-1.0, right), ylim=(low, high))
        axis.axis("off")
        for key, box in drawing.boxes.items():
            _draw_box(axis, box, lines.get(key, []))
        for start, end, *how in drawing.arrows:
            _draw_arrow(axis, drawing, start, end, how[0] if how else "")
        for x, y, text in drawing.notes:
            axis.text(x, y, text, color=LINE, va="center", style="italic", fontsize=7.5)
        _draw_legend(axis, drawing, (low, right), f"{drawing.variant}: {parameters:,} parameters")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")
    return path


def _draw_box(axis: Any, box: Box, lines: list[str]) -> None:
    (x, y), (width, height) = box.at, box.size
    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0,rounding_size=0.1"
    axis.add_patch(FancyBboxPatch(corner, width, height, style, facecolor=COLORS[box.kind], edgecolor=LINE, lw=0.8))
    step = 0.225
    for row, text in enumerate([box.title or box.parts[0], *lines]):
        place = y + step * (len(lines) / 2 - row)
        bold = {"weight": "bold"} if row == 0 else {"fontsize": 7}
        axis.text(x, place, text, ha="center", va="center", color=INK, **bold)


def _draw_arrow(axis: Any, drawing: Drawing, start: str, end: str, how: str) -> None:
    goal = drawing.boxes[end]
    if start == "image":
        tip = (goal.at[0] - goal.size[0] / 2, goal.at[1])
        tail = (tip[0] - 0.75, tip[1])
        channels, *spatial = drawing.input
        what = "pair" if channels == 2 else "image"
        axis.text(tail[0] - 0.1, tail[1] + 0.12, what, ha="left", va="bottom", color=INK, fontsize=7.5)
        axis.text(
            tail[0] - 0.1, tail[1] - 0.12, f"{spatial[0]}²×{channels}", ha="left", va="top", color=INK, fontsize=7
        )
        axis.add_patch(FancyArrowPatch(tail, tip, arrowstyle="-|>", mutation_scale=9, color=LINE, lw=1))
        return
    source = drawing.boxes[start]
    bend = "arc3,rad=0"
    (x0, y0), (x1, y1) = source.at, goal.at
    if how == "+ residual":
        tail, tip, bend = (x0, y0 - 0.54), (x1 + 0.7, y1 - 0.54), "arc3,rad=0.1"
        axis.text(
            (x0 + x1) / 2 + 0.2, y0 - 0.7, how, ha="center", va="center", color=LINE, fontsize=7.5, style="italic"
        )
    elif how == "around":
        tail, tip, bend = (x0 + 1.05, y0), (x1 + 1.05, y1), "arc3,rad=-0.35"
    elif x0 == x1:
        sign = 1 if y1 > y0 else -1
        tail, tip = (x0, y0 + sign * source.size[1] / 2), (x1, y1 - sign * goal.size[1] / 2)
    else:
        sign = 1 if x1 > x0 else -1
        tall = source.size[1] > 1.5, goal.size[1] > 1.5
        tail = (x0 + sign * source.size[0] / 2, y1 if tall[0] else y0)
        tip = (x1 - sign * goal.size[0] / 2, y0 if tall[1] else y1)
    arrow = FancyArrowPatch(tail, tip, arrowstyle="-|>", mutation_scale=9, color=LINE, lw=1, connectionstyle=bend)
    axis.add_patch(arrow)


def _draw_legend(axis: Any, drawing: Drawing, corner: tuple[float, float], title: str) -> None:
    x, y = 0.15, corner[0] + 0.22
    for kind in dict.fromkeys(box.kind for box in drawing.boxes.values()):
        axis.add_patch(
            FancyBboxPatch((x, y - 0.1), 0.3, 0.2, "square,pad=0", facecolor=COLORS[kind], edgecolor=LINE, lw=0.6)
        )
        axis.text(x + 0.4, y, LEGEND[kind], va="center", color=INK, fontsize=7)
        x += 0.72 + 0.068 * len(LEGEND[kind])
    axis.text(corner[1] - 0.2, y, title, ha="right", va="center", color=INK, fontsize=7.5, weight="bold")


def main(arguments: list[str]) -> int:
    for name in DRAWINGS:
        print(draw(name, Path(arguments[0]) if arguments else FOLDER))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
