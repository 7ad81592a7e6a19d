"""Pictures: outlines and heat maps on images, explanations of a network, contact sheets, curves."""

from __future__ import annotations

from medssm_monai.visualize.classification import (
    plot_confusion_matrix,
    plot_pr_curves,
    plot_reliability,
    plot_roc_curves,
)
from medssm_monai.visualize.curves import best_epoch, plot_curves
from medssm_monai.visualize.explanations import Explanation, save_explanations
from medssm_monai.visualize.fusion import fusion_panel, fusion_planes
from medssm_monai.visualize.grad_cam import grad_cam, weak_activations
from medssm_monai.visualize.heatmap import overlay_heatmap
from medssm_monai.visualize.image_explanation import ImageExplainer, ImageExplanation
from medssm_monai.visualize.overlay import contact_sheet, overlay_contours, save_png, titled_panel, to_rgb
from medssm_monai.visualize.scan_attention import ScanCoefficients, capture_scans, scan_attention
from medssm_monai.visualize.scan_pictures import save_scan_sheets

__all__ = [
    "Explanation",
    "ImageExplainer",
    "ImageExplanation",
    "ScanCoefficients",
    "best_epoch",
    "capture_scans",
    "contact_sheet",
    "fusion_panel",
    "fusion_planes",
    "grad_cam",
    "overlay_contours",
    "overlay_heatmap",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_pr_curves",
    "plot_reliability",
    "plot_roc_curves",
    "save_explanations",
    "save_png",
    "save_scan_sheets",
    "scan_attention",
    "titled_panel",
    "to_rgb",
    "weak_activations",
]
