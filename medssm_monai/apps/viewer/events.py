"""What the tabs share: choosing weights, running what may fail, the widgets that each of them has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from .files import remove_folder
from .models import Model
from .words import problem

__all__ = [
    "DRAWING",
    "KEPT_SECONDS",
    "NETWORK",
    "chosen",
    "forget",
    "picture",
    "result_state",
    "safely",
    "weights_menu",
]

KEPT_SECONDS = 3600
NETWORK: dict[str, Any] = {
    "concurrency_id": "network",
    "concurrency_limit": 2,
    "api_visibility": "private",
    "show_progress": "full",
    "trigger_mode": "always_last",
}
"""Of events that run a network: two at once, the others wait for their turn; a file that is dropped while the one
before is still at work comes after it (by default it would be passed over)."""
DRAWING: dict[str, Any] = {
    "concurrency_id": "drawing",
    "concurrency_limit": 4,
    "api_visibility": "private",
    "show_progress": "hidden",
    "trigger_mode": "always_last",
}
"""Of events that only draw a result again."""


def safely(blank: Sequence[Any]) -> Callable[[Callable[..., Sequence[Any]]], Callable[..., Sequence[Any]]]:
    """Let an event end with a message in the page, whatever goes wrong; the server goes on.

    Args:
        blank: values of the outputs after the first one, which is the message.
    """

    def decorate(function: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        @wraps(function)
        def run(*arguments: Any) -> Sequence[Any]:
            try:
                return function(*arguments)
            except Exception as error:
                return (problem(error), *blank)

        return run

    return decorate


def forget(result: Any) -> None:
    """Remove the files of a result."""
    if result is not None:
        remove_folder(result.folder)


def result_state() -> gr.State:
    """Where a visitor's own result is kept, for an hour after the last use."""
    return gr.State(None, time_to_live=KEPT_SECONDS, delete_callback=forget)


def weights_menu(models: Sequence[Model], name: str) -> gr.Dropdown:
    """Choice of the weights; a text where there is only one."""
    labels = [model.label for model in models]
    return gr.Dropdown(
        labels,
        value=labels[0],
        label="Weights",
        interactive=len(labels) > 1,
        elem_id=f"{name}-weights",
        filterable=False,
    )


def chosen(models: Sequence[Model], label: str) -> Model:
    """The model of a label."""
    for model in models:
        if model.label == label:
            return model
    raise ValueError(f"no weights {label!r} here; choose from the list.")


def picture(label: str, elem_id: str, height: int = 430) -> gr.Image:
    """A picture that is only shown."""
    return gr.Image(
        label=label,
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        height=height,
        elem_id=elem_id,
    )
