"""How the documentation is built: `make docs`; every warning is an error."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.util import inspect

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "edgeserver"
author = "The edgeserver maintainers"
copyright = "the edgeserver maintainers"
version = release = installed_version("edgeserver")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commandhelp",
    "configfile",
    "settingstable",
]
exclude_patterns = ["_build"]

# Docstrings write code between single backticks, as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "notes")]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"edgeserver {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

man_pages = [
    ("reference/command-line", "edgeserver", "the Python HTTP server for the edge", [author], 1)
]


_COLON = "\ue000"


def hide_colons(app, what, name, obj, options, lines):
    """Keep the first line of a property whole: else what is before a colon is taken for a type."""
    if what in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(":", _COLON)


def separate_code_spans(app, what, name, obj, options, lines):
    """Let a word end right after a code span, as in Markdown: `Future`s."""
    shown = [line.replace(_COLON, ":") for line in lines]
    lines[:] = [re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line) for line in shown]


def show_constructor(app, what, name, obj, options, signature, return_annotation):
    """Show the signature that a constructor has for its callers, where it has another's."""
    shown = getattr(getattr(obj, "__init__", None), "__wrapped__", None)
    if what != "class" or shown is None:
        return None
    given = inspect.signature(shown, bound_method=True, type_aliases={})
    return inspect.stringify_signature(given, show_return_annotation=False), return_annotation


def setup(app):
    """Connect what prepares docstrings and signatures."""
    app.connect("autodoc-process-signature", show_constructor)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)  # before napoleon's
    app.connect("autodoc-process-docstring", separate_code_spans, priority=600)
