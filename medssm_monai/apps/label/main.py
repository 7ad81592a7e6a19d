"""Entry point of the app: MONAI Label looks for a subclass of ``MONAILabelApp`` in this file."""

from .app import BundleApp

__all__ = ["BundleApp"]
