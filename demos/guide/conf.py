# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sphinx's settings for the guide; ``build.py`` lays its sources out and calls it."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = Path(os.environ["GUIDE_BUILD"])
sys.path.insert(0, str(HERE))

from catalogue import escaped

import dolfinx_llg

project = "dolfinx_llg"
author = "The dolfinx_llg authors"
copyright = author
version = release = dolfinx_llg.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinxcontrib.bibtex",
    "tables",
    "claims",
]
root_doc = "index"

# Pages are MyST; tutorials are scripts in the percent format, run with their results kept.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "smartquotes"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["notebooks.read", {}]}
nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "cache")
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

autosummary_generate = False  # catalogue.py writes the pages
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"

# Nothing is taken from the network when a page is read.
html_theme = "furo"
html_title = "dolfinx_llg"
html_static_path = [str(BUILD / "static"), "guide.css"]
html_css_files = ["guide.css"]
mathjax_path = "tex-svg.js"
html_copy_source = False
html_show_sourcelink = False


def _escape(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = escaped(lines)


def setup(app) -> None:
    app.connect("autodoc-process-docstring", _escape)
