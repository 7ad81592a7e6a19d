"""Tab of the fusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from .events import DRAWING, NETWORK, chosen, forget, picture, result_state, safely, weights_menu
from .files import new_folder, open_file, remove_folder
from .fusion import Fused, fuse
from .models import Model, require_dimensions
from .words import color_legend, facts, likeness, note, origin

__all__ = ["fusion_tab"]

OPACITY = 0.6
DROP = "Drop two registered files, source A and source B, to see them fused."
IMAGE, UNCERTAINTY = "Image", "Uncertainty"


def _facts(found: Fused, layer: str) -> str:
    shape = found.prediction.image.shape
    size = " × ".join(map(str, shape)) + " voxels" if found.slices else f"{shape[1]} × {shape[0]} pixels"
    rows = {
        "Source A": found.sources[0].name,
        "Source B": found.sources[1].name,
        "Fused image": f"{size}, in the geometry of source A",
    }
    if found.unsure is not None:
        rows["Uncertainty"] = (
            f"{float(found.unsure.mean()):.5f}, mean of all places (standard deviation of the fused image in [0, 1], "
            "8 samples with dropout)"
        )
    return _legend(found, layer) + facts(rows | origin(found.prediction))


def _legend(found: Fused, layer: str) -> str:
    if layer == IMAGE or found.unsure is None:
        return ""
    return color_legend("0", f"{float(found.unsure.max()):.3g}", "standard deviation of the fused image")


def fusion_tab(models: Sequence[Model]) -> None:
    """Lay out the tab and connect it.

    Args:
        models: fusions.
    """
    state = result_state()
    with gr.Row():
        with gr.Column(scale=1, min_width=340):
            menu = weights_menu(models, "fusion")
            file_a = gr.File(label="Source A (gives the geometry)", height=130, elem_id="fusion-file-a")
            file_b = gr.File(label="Source B", height=130, elem_id="fusion-file-b")
            number = gr.Slider(1, 2, 1, step=1, label="Slice", visible=False, elem_id="fusion-slice")
            layer = gr.Radio(
                [IMAGE, UNCERTAINTY], value=IMAGE, label="Fused", elem_id="fusion-layer", elem_classes="medssm-choice"
            )
            opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", elem_id="fusion-opacity")
            unsure = gr.Button("Compute uncertainty", elem_id="fusion-unsure")
            save = gr.Button("Prepare downloads", variant="primary", elem_id="fusion-save")
        with gr.Column(scale=3, min_width=560):
            message = gr.HTML(note(DROP), elem_id="fusion-message")
            with gr.Row():
                first = picture("Source A", "fusion-source-a", 330)
                second = picture("Source B", "fusion-source-b", 330)
                result = picture("Fused", "fusion-result", 330)
            table = gr.HTML(elem_id="fusion-facts")
            files = gr.File(
                label="Downloads",
                file_count="multiple",
                interactive=False,
                visible=False,
                elem_id="fusion-files",
                elem_classes="medssm-downloads",
            )

    no_files = gr.update(value=None, visible=False)
    shown = [message, state, layer, number, first, second, result, table, files]
    blank = [None, IMAGE, gr.update(visible=False), None, None, None, "", no_files]

    def slider(found: Fused, number: int | None) -> Any:
        if not found.slices:
            return gr.update(visible=False)
        label = f"Slice (1 to {found.slices})"
        return gr.update(visible=True, maximum=found.slices, label=label, value=number)

    @safely(blank)
    def opened(path_a: Any, path_b: Any, label: str, opacity: float, before: Any) -> list[Any]:
        forget(before)
        if path_a is None or path_b is None:
            missing = "source A" if path_a is None else "source B"
            return [note(DROP if path_a is path_b else f"Drop {missing} as well."), *blank]
        folder = new_folder()
        try:
            model = chosen(models, label)
            pair = [open_file(path, folder) for path in (path_a, path_b)]
            require_dimensions(model, pair, models)
            found = fuse(model, pair[0], pair[1], folder)
            middle = found.slices // 2 + 1
            pictures = found.drawn(middle, opacity)
        except BaseException:
            remove_folder(folder)
            raise
        message = likeness(found.prediction)
        return [message, found, IMAGE, slider(found, middle), *pictures, _facts(found, IMAGE), no_files]

    redrawn = [message, first, second, result, table, files]

    @safely([gr.update()] * 5)
    def redraw(found: Fused | None, number: int, layer: str, opacity: float) -> list[Any]:
        if found is None:
            return [gr.update()] * len(redrawn)
        drawn = found.drawn(number, opacity, layer == UNCERTAINTY)
        return [likeness(found.prediction), *drawn, _facts(found, layer), no_files]

    uncertain_shown = [message, state, layer, result, table, files]

    @safely([gr.update()] * 5)
    def uncertain(found: Fused | None, number: int, opacity: float) -> list[Any]:
        if found is None:
            raise ValueError("drop two files first.")
        found = found.with_uncertainty()
        drawn = found.drawn(number, opacity, True)[2]
        return [likeness(found.prediction), found, UNCERTAINTY, drawn, _facts(found, UNCERTAINTY), no_files]

    @safely([gr.update()])
    def prepared(found: Fused | None, number: int) -> list[Any]:
        if found is None:
            raise ValueError("drop two files first.")
        files = [str(path) for path in found.save(int(number))]
        return [likeness(found.prediction), gr.update(value=files, visible=True)]

    changes = [event for file in (file_a, file_b) for event in (file.upload, file.clear)]
    gr.on([*changes, menu.input], opened, [file_a, file_b, menu, opacity, state], shown, **NETWORK)
    gr.on([one.input for one in (number, layer, opacity)], redraw, [state, number, layer, opacity], redrawn, **DRAWING)
    unsure.click(uncertain, [state, number, opacity], uncertain_shown, **NETWORK)
    save.click(prepared, [state, number], [message, files], **NETWORK)
