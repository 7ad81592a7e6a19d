"""Tab of the segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ...visualize.overlay import PREDICTION_COLOR
from .events import DRAWING, NETWORK, chosen, forget, picture, result_state, safely, weights_menu
from .files import new_folder, open_file, remove_folder
from .models import Model
from .segmentation import LAYERS, MASK, PROBABILITY, UNCERTAINTY, Segmented, segment, segment_volume
from .words import color_legend, facts, likeness, mask_legend, note, origin, promise

__all__ = ["segmentation_tab"]

OPACITY = 0.45


def _facts(found: Segmented, layer: str, threshold: float) -> str:
    result = found.at(threshold)
    confidence = result.confidence
    height, width = result.mask.shape
    areas = {name: int(result.class_mask(name).sum()) for name in result.labels.names}
    pixels = height * width
    rows = {
        "Image": f"{found.opened.name}, {width} × {height} pixels",
        **{
            f"Area of {name}": f"{100 * area / pixels:.2f} % of the image ({area} of {pixels} pixels)"
            for name, area in areas.items()
        },
        "Confidence": "no pixel reaches the threshold"
        if confidence is None
        else f"{confidence:.4f} (mean in the mask)",
    }
    if result.labels.softmax:
        rows["Threshold"] = "of no meaning here: the most probable class is shown"
    if found.unsure is not None:
        rows["Uncertainty"] = (
            f"{float(found.unsure.mean()):.5f}, mean of all pixels (epistemic, 8 samples with dropout)"
        )
    for name, mask in (result.calibrated or {"masks": {}})["masks"].items():
        rows[f"Mask of {name} that misses little"] = (
            f"{100 * mask['share']:.2f} % of the image ({mask['pixels']} of {pixels} pixels), more probable than the "
            f"calibrated threshold {mask['threshold']:g}"
        )
    return _legend(found, layer) + promise(result) + facts(rows | origin(found.prediction))


def _legend(found: Segmented, layer: str) -> str:
    if layer == MASK:
        labels = found.prediction.labels
        colors = labels.colors if len(labels.names) > 1 else [PREDICTION_COLOR]
        return "".join(map(mask_legend, labels.names, colors))
    if layer == PROBABILITY:
        return color_legend("0", "1", "probability")
    top = 0.0 if found.unsure is None else float(found.unsure.max())
    return color_legend("0", f"{top:.3g}", "uncertainty (epistemic)")


def segmentation_tab(models: Sequence[Model]) -> None:
    """Lay out the tab and connect it.

    Args:
        models: segmentations.
    """
    state = result_state()
    with gr.Row():
        with gr.Column(scale=1, min_width=340):
            menu = weights_menu(models, "segmentation")
            file = gr.File(label="Picture, NIfTI or DICOM file", height=130, elem_id="segmentation-file")
            number = gr.Slider(1, 2, 1, step=1, label="Slice", visible=False, elem_id="segmentation-slice")
            layer = gr.Radio(
                list(LAYERS),
                value=MASK,
                label="Shown on the image",
                elem_id="segmentation-layer",
                elem_classes="medssm-choice",
            )
            threshold = gr.Slider(0.01, 0.99, 0.5, step=0.01, label="Threshold", elem_id="segmentation-threshold")
            opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", elem_id="segmentation-opacity")
            unsure = gr.Button("Compute uncertainty", elem_id="segmentation-unsure")
            every = gr.Button("Segment every slice", visible=False, elem_id="segmentation-every")
            save = gr.Button("Prepare downloads", variant="primary", elem_id="segmentation-save")
        with gr.Column(scale=3, min_width=560):
            message = gr.HTML(note("Drop a file to see its mask."), elem_id="segmentation-message")
            with gr.Row():
                source = picture("Image", "segmentation-source")
                result = picture("Result", "segmentation-result")
            table = gr.HTML(elem_id="segmentation-facts")
            files = gr.File(
                label="Downloads",
                file_count="multiple",
                interactive=False,
                visible=False,
                elem_id="segmentation-files",
                elem_classes="medssm-downloads",
            )

    no_files = gr.update(value=None, visible=False)
    shown = [message, state, layer, source, result, table, files, every]
    blank = [None, MASK, None, None, "", no_files, gr.update(visible=False)]

    def show(found: Segmented, layer: str, threshold: float, opacity: float) -> list[Any]:
        layer = MASK if layer == UNCERTAINTY and found.unsure is None else layer
        pictures = [found.drawn(MASK, 2.0, 0.0), found.drawn(layer, threshold, opacity)]
        table = _facts(found, layer, threshold)
        every = gr.update(visible=found.opened.slices > 0)
        return [likeness(found.prediction), found, layer, *pictures, table, no_files, every]

    def predict(path: Any, label: str, number: int | None, *settings: Any) -> tuple[Segmented, list[Any]]:
        folder = new_folder()
        try:
            opened = open_file(path, folder)
            number = opened.slices // 2 + 1 if number is None else number
            found = segment(chosen(models, label), opened, number, folder)
            return found, show(found, *settings)
        except BaseException:
            remove_folder(folder)
            raise

    @safely([*blank, gr.update(visible=False)])
    def opened(path: Any, label: str, layer: str, threshold: float, opacity: float, before: Any) -> list[Any]:
        forget(before)
        if path is None:
            return [note("Drop a file to see its mask."), *blank, gr.update(visible=False)]
        found, values = predict(path, label, None, layer, threshold, opacity)
        slices = found.opened.slices
        if not slices:
            return [*values, gr.update(visible=False)]
        middle = slices // 2 + 1
        return [*values, gr.update(visible=True, maximum=slices, value=middle, label=f"Slice (1 to {slices})")]

    @safely(blank)
    def moved(
        path: Any, label: str, number: int, layer: str, threshold: float, opacity: float, before: Any
    ) -> list[Any]:
        if path is None:
            return [gr.update()] * len(shown)
        values = predict(path, label, number, layer, threshold, opacity)[1]
        forget(before)
        return values

    redrawn = [message, result, table, files]

    @safely([gr.update()] * 3)
    def redraw(found: Segmented | None, layer: str, threshold: float, opacity: float) -> list[Any]:
        if found is None:
            return [gr.update()] * len(redrawn)
        drawn = found.drawn(layer, threshold, opacity)
        return [likeness(found.prediction), drawn, _facts(found, layer, threshold), no_files]

    @safely([gr.update()] * len(blank))
    def uncertain(found: Segmented | None, threshold: float, opacity: float) -> list[Any]:
        if found is None:
            raise ValueError("drop a file first.")
        return show(found.with_uncertainty(), UNCERTAINTY, threshold, opacity)

    @safely([gr.update()])
    def all_slices(found: Segmented | None, threshold: float, progress: Any) -> list[Any]:
        if found is None:
            raise ValueError("drop a volume first.")
        made = segment_volume(found, threshold, lambda done, total: progress((done, total), unit="slices"))
        text = f"Every slice was segmented at threshold {threshold:.2f}: the mask of the whole volume is below."
        return [note(text) + likeness(found.prediction), gr.update(value=[str(made)], visible=True)]

    def all_slices_shown(
        found: Segmented | None,
        threshold: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Sequence[Any]:
        return all_slices(found, threshold, progress)

    @safely([gr.update()])
    def prepared(found: Segmented | None, threshold: float, opacity: float) -> list[Any]:
        if found is None:
            raise ValueError("drop a file first.")
        files = [str(path) for path in found.save(threshold, opacity)]
        return [likeness(found.prediction), gr.update(value=files, visible=True)]

    settings = [layer, threshold, opacity]
    gr.on([file.upload, file.clear, menu.input], opened, [file, menu, *settings, state], [*shown, number], **NETWORK)
    again = {**NETWORK, "show_progress": "minimal"}
    number.input(moved, [file, menu, number, *settings, state], shown, **again)
    gr.on([one.input for one in settings], redraw, [state, *settings], redrawn, **DRAWING)
    unsure.click(uncertain, [state, threshold, opacity], shown, **NETWORK)
    every.click(all_slices_shown, [state, threshold], [message, files], **NETWORK)
    save.click(prepared, [state, threshold, opacity], [message, files], **NETWORK)
