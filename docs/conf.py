"""How Sphinx builds these pages: sphinx-build -W docs build/docs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "pages"))

from command_list import commands
from error_list import errors
from example_list import examples

import maskanim

project, copyright, version = "maskanim", "the maskanim contributors, Apache-2.0", maskanim.__version__
html_title = f"maskanim {version}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["pages"]
html_theme = "furo"  # asks no other machine for fonts or scripts
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_show_sphinx = False
smartquotes = False  # two dashes begin an option
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
default_role = "code"  # docstrings put names into single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]

PARTS = {"<!-- commands -->": commands, "<!-- errors -->": errors, "<!-- examples -->": examples}


def _put_in_parts(app: Any, name: str, content: list[str]) -> None:
    """Put in the parts that are made from the code."""
    for mark, make in PARTS.items():
        if mark in content[0]:
            content[0] = content[0].replace(mark, make())


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _put_in_parts)
