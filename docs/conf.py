"""The documentation site: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``; it needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import medssm_monai  # noqa: E402

project = "medssm-monai"
author = "The medssm-monai authors"
project_copyright = author
version = release = medssm_monai.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "outside_pages",  # ours, in _ext
    "config_keys",
    "api_pages",
]
exclude_patterns = ["_build", "_ext", "README.md", "images/README.md", "gallery"]
suppress_warnings = ["config.cache"]  # the order of gallery pages is a function

myst_heading_anchors = 4  # as GitHub makes them
myst_enable_extensions = ["html_image"]

autodoc_preserve_defaults = True  # as written: values such as os.environ are those of the machine that builds
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False  # what PyTorch and MONAI say of their methods is on their own sites
autodoc_member_order = "bysource"
autosummary_generate = False  # every room has one page, made by api_pages
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["generated/gallery"],
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "plot_gallery": True,
    "reset_modules": ("matplotlib",),
    "matplotlib_animations": False,
}

toc_object_entries = False  # each has a heading

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_sidebars = {"index": [], "start": [], "cite": []}
html_theme_options = {
    "logo": {"text": project},
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
