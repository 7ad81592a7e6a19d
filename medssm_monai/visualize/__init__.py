"""Pictures: outlines on images, contact sheets, training curves."""

from __future__ import annotations

from medssm_monai.visualize.classification import (
    plot_confusion_matrix,
    plot_pr_curves,
    plot_reliability,
    plot_roc_curves,
)
from medssm_monai.visualize.curves import plot_curves
from medssm_monai.visualize.overlay import contact_sheet, overlay_contours, save_png, titled_panel, to_rgb

__all__ = [
    "contact_sheet",
    "overlay_contours",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_pr_curves",
    "plot_reliability",
    "plot_roc_curves",
    "save_png",
    "titled_panel",
    "to_rgb",
]
