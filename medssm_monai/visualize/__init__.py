"""Pictures: outlines and heat maps on images, explanations of a network, contact sheets, curves."""

from __future__ import annotations

from .class_overlay import class_legend, overlay_classes, plane_image, volume_plane, volume_slice
from .classification import plot_confusion_matrix, plot_pr_curves, plot_reliability, plot_roc_curves
from .curves import best_epoch, plot_curves
from .explanations import Explanation, save_explanations
from .fusion import fusion_panel, fusion_planes
from .grad_cam import grad_cam, weak_activations
from .heatmap import overlay_heatmap
from .image_explanation import ImageExplainer, ImageExplanation
from .overlay import contact_sheet, overlay_contours, save_png, titled_panel, to_rgb
from .scan_attention import ScanCoefficients, capture_scans, scan_attention
from .scan_pictures import save_scan_sheets

__all__ = [
    "Explanation",
    "ImageExplainer",
    "ImageExplanation",
    "ScanCoefficients",
    "best_epoch",
    "capture_scans",
    "class_legend",
    "contact_sheet",
    "fusion_panel",
    "fusion_planes",
    "grad_cam",
    "overlay_classes",
    "overlay_contours",
    "overlay_heatmap",
    "plane_image",
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
    "volume_plane",
    "volume_slice",
    "weak_activations",
]
