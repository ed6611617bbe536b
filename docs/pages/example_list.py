"""The examples with what their docstrings say and their code."""

from __future__ import annotations

import ast
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def examples() -> str:
    """Every example as Markdown: what it shows, and the file."""
    return "\n".join(_told(path) for path in sorted(EXAMPLES.glob("*.py")))


def _told(path: Path) -> str:
    code = path.read_text("utf-8")
    title = (ast.get_docstring(ast.parse(code)) or path.stem).splitlines()[0].rstrip(".")
    return f"## {title}\n\n`examples/{path.name}`:\n\n```python\n{code}```\n"
