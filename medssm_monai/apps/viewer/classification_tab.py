"""Tab of the classifications."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from .classification import Classified, classify
from .events import DRAWING, NETWORK, chosen, forget, picture, result_state, safely, weights_menu
from .files import new_folder, open_file, remove_folder
from .models import Model, require_dimensions
from .pictures import shown as preview
from .words import bars, color_legend, facts, likeness, note, origin, promise

__all__ = ["classification_tab"]

OPACITY = 0.5
DROP = "Drop a file to see its class."


def _calibration(model: Model) -> str:
    value = model.temperature
    if value is None:
        return "no temperature is stored with these weights: the probabilities are as the network gives them"
    if value == 1.0:
        return "temperature 1 is stored with these weights: the probabilities are as the network gives them"
    return f"probabilities are calibrated by the temperature that is stored with these weights, {value:.4g}"


def _facts(found: Classified) -> str:
    height, width = found.picture.shape[:2]
    rows = {
        "Image": f"{found.opened.name}, {width} × {height} pixels",
        "Calibration": _calibration(found.model),
    }
    if found.unsure is not None:
        rows["Uncertainty"] = (
            f"entropy {found.unsure['entropy']:.4f}, epistemic {found.unsure['epistemic']:.4f} "
            "(0 to 1, 8 samples with dropout)"
        )
    return _legend(found) + facts(rows | origin(found.prediction))


def _answer(found: Classified) -> str:
    prediction = found.prediction
    title = f"{prediction.class_name}, {100 * prediction.confidence:.2f} %"
    return f'<div class="medssm-class">{escape(title)}</div>{bars(prediction.by_class())}{promise(prediction)}'


def _legend(found: Classified) -> str:
    explanation = found.explanation
    if explanation is None:
        return note("Explanations are for pictures and slices; these weights take volumes.")
    if explanation.peak <= 0:
        return note(f"Nothing in the image speaks for {explanation.class_name} in the layer {explanation.layer}.")
    what = f"where {explanation.layer} speaks for {explanation.class_name} (Grad-CAM; peak {explanation.peak:.3g})"
    return color_legend("nothing", "most", what)


def classification_tab(models: Sequence[Model]) -> None:
    """Lay out the tab and connect it.

    Args:
        models: classifications.
    """
    state = result_state()
    with gr.Row():
        with gr.Column(scale=1, min_width=340):
            menu = weights_menu(models, "classification")
            file = gr.File(label="Picture, NIfTI or DICOM file", height=130, elem_id="classification-file")
            number = gr.Slider(1, 2, 1, step=1, label="Slice", visible=False, elem_id="classification-slice")
            which = gr.Dropdown([], label="Explain the class", elem_id="classification-class", filterable=False)
            opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", elem_id="classification-opacity")
            unsure = gr.Button("Compute uncertainty", elem_id="classification-unsure")
            save = gr.Button("Prepare downloads", variant="primary", elem_id="classification-save")
        with gr.Column(scale=3, min_width=560):
            message = gr.HTML(note(DROP), elem_id="classification-message")
            answer = gr.HTML(elem_id="classification-answer")
            with gr.Row():
                source = picture("Image", "classification-source")
                result = picture("Explanation", "classification-result")
            table = gr.HTML(elem_id="classification-facts")
            files = gr.File(
                label="Downloads",
                file_count="multiple",
                interactive=False,
                visible=False,
                elem_id="classification-files",
                elem_classes="medssm-downloads",
            )

    no_files = gr.update(value=None, visible=False)
    shown = [message, state, answer, source, result, table, files, which]
    blank = [None, "", None, None, "", no_files, gr.update(choices=[], value=None)]

    def show(found: Classified, opacity: float) -> list[Any]:
        names = list(found.prediction.class_names)
        value = found.explanation.class_name if found.explanation else None
        menu_of_classes = gr.update(choices=names, value=value, interactive=found.explainable)
        pictures = [preview(found.picture), found.drawn(opacity)]
        message = likeness(found.prediction)
        return [message, found, _answer(found), *pictures, _facts(found), no_files, menu_of_classes]

    def predict(path: Any, label: str, number: int | None, opacity: float) -> tuple[Classified, list[Any]]:
        folder = new_folder()
        try:
            model, opened = chosen(models, label), open_file(path, folder)
            if model.spatial_dims == 3:
                require_dimensions(model, [opened], models)
            number = opened.slices // 2 + 1 if number is None else number
            found = classify(model, opened, number, folder)
            return found, show(found, opacity)
        except BaseException:
            remove_folder(folder)
            raise

    @safely([*blank, gr.update(visible=False)])
    def opened(path: Any, label: str, opacity: float, before: Any) -> list[Any]:
        forget(before)
        if path is None:
            return [note(DROP), *blank, gr.update(visible=False)]
        found, values = predict(path, label, None, opacity)
        slices = found.opened.slices
        if not slices:
            return [*values, gr.update(visible=False)]
        middle = slices // 2 + 1
        return [*values, gr.update(visible=True, maximum=slices, value=middle, label=f"Slice (1 to {slices})")]

    @safely(blank)
    def moved(path: Any, label: str, number: int, opacity: float, before: Any) -> list[Any]:
        if path is None:
            return [gr.update()] * len(shown)
        values = predict(path, label, number, opacity)[1]
        forget(before)
        return values

    @safely([gr.update()])
    def redraw(found: Classified | None, opacity: float) -> list[Any]:
        return [gr.update()] * 2 if found is None else [likeness(found.prediction), found.drawn(opacity)]

    explained = [message, state, result, table, files]

    @safely([gr.update()] * 4)
    def explain(found: Classified | None, name: str | None, opacity: float) -> list[Any]:
        if found is None or name is None:
            return [gr.update()] * len(explained)
        found = found.explained(name)
        return [likeness(found.prediction), found, found.drawn(opacity), _facts(found), no_files]

    @safely([gr.update()] * 2)
    def uncertain(found: Classified | None) -> list[Any]:
        if found is None:
            raise ValueError("drop a file first.")
        found = found.with_uncertainty()
        return [likeness(found.prediction), found, _facts(found)]

    @safely([gr.update()])
    def prepared(found: Classified | None) -> list[Any]:
        if found is None:
            raise ValueError("drop a file first.")
        files = [str(path) for path in found.save()]
        return [likeness(found.prediction), gr.update(value=files, visible=True)]

    arguments = [file, menu, opacity, state]
    gr.on([file.upload, file.clear, menu.input], opened, arguments, [*shown, number], **NETWORK)
    again = {**NETWORK, "show_progress": "minimal"}
    number.input(moved, [file, menu, number, opacity, state], shown, **again)
    opacity.input(redraw, [state, opacity], [message, result], **DRAWING)
    which.input(explain, [state, which, opacity], explained, **NETWORK)
    unsure.click(uncertain, [state], [message, state, table], **NETWORK)
    save.click(prepared, [state], [message, files], **NETWORK)
