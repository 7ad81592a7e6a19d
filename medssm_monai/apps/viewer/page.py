"""The page: a tab for each kind of task, what it is not, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from ...data.readers.limits import VOXELS_PER_PIXEL, max_pixels
from .classification_tab import classification_tab
from .events import KEPT_SECONDS
from .fusion_tab import fusion_tab
from .models import Model
from .segmentation_tab import segmentation_tab

__all__ = ["MAX_UPLOAD", "build_page"]

MAX_UPLOAD = 512 << 20  # bytes of a file
WAITING = 32  # requests that wait for their turn; more are refused
TABS = {
    "segmentation": ("Segmentation", segmentation_tab),
    "classification": ("Classification", classification_tab),
    "fusion": ("Fusion", fusion_tab),
}
HEAD = """<div class="medssm-head"><h1>medssm-monai viewer</h1>
<span class="medssm-warn">Not a medical device: for research, not for diagnosis or treatment.</span></div>"""


def _foot() -> str:
    pixels = max_pixels()
    return (
        '<div class="medssm-foot">Everything stays on this computer: files that you drop lie in a private temporary '
        "folder, which is removed when the viewer ends. "
        f"Limits: {MAX_UPLOAD >> 20} MiB for a file, {pixels / 1e6:.0f} million pixels for a picture, "
        f"{VOXELS_PER_PIXEL * pixels / 1e6:.0f} million voxels for a volume. Pictures are shown at up to 1024 pixels; "
        "downloads have the size of the file.</div>"
    )


def build_page(models: Mapping[str, Sequence[Model]]) -> gr.Blocks:
    """The page for these models, by kind; kinds without a model have no tab."""
    with gr.Blocks(
        analytics_enabled=False, title="medssm-monai viewer", delete_cache=(KEPT_SECONDS, 4 * KEPT_SECONDS)
    ) as page:
        gr.HTML(HEAD)
        with gr.Tabs():
            for kind, (title, tab) in TABS.items():
                if models.get(kind):
                    with gr.Tab(title, id=kind, elem_id=f"tab-{kind}"):
                        tab(models[kind])
        gr.HTML(_foot())
    return page.queue(max_size=WAITING, default_concurrency_limit=2, api_open=False)
