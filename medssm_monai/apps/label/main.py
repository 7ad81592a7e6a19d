"""Entry point of the app: MONAI Label looks for a subclass of ``MONAILabelApp`` in this file."""

from medssm_monai.apps.label.app import BundleApp

__all__ = ["BundleApp"]
