"""Viewer: a page in the browser of this computer that shows what the bundles predict for a file that is dropped on it.

    python -m medssm_monai.apps.viewer [BUNDLE ...]

The page needs Gradio (extra ``viewer``); this package imports without it.
"""
