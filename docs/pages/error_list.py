"""Every error that a person can meet, read from the code that raises it."""

from __future__ import annotations

import ast
import html
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# Where the code of an area lies, the more special place first.
AREAS = {
    "maskanim/video": "Pictures, clips and outputs",
    "maskanim/provenance": "Provenance",
    "maskanim/trt": "TensorRT plans",
    "runtime/cuda": "GPUs",
    "runtime/live": "Live",
    "runtime/motion": "Motion files",
    "runtime/framing": "Framing",
    "runtime/jobs": "Rendering",
    "runtime": "Models, engines and commands",
    "maskanim": "Models, engines and commands",
    "app": "The page for the browser",
    "train": "Training",
    "export": "Export",
    "benchmarks": "Benchmarks",
}
RAISED = ("MaskanimError", "MissingPackageError", "needs_extra")
INSTALL = "pip install 'maskanim[{}]'"
TEXTS = (ast.Constant, ast.JoinedStr, ast.IfExp, ast.BinOp)
DEEPEST = 3  # texts of texts; a name may be given a text of itself
NAMELESS = ("str", "self", "os", "fspath", "join", "repr", "len", "getattr")


class Raised(NamedTuple):
    """One place that raises: what it says, with <...> for what differs, and where."""

    area: str
    subject: str
    received: str
    cure: str


def errors() -> str:
    """The errors as Markdown, by areas, each with its cure."""
    found = sorted(set(raised()), key=lambda one: ([*AREAS.values()].index(one.area), one.subject, one.received))
    lines = []
    for area in dict.fromkeys(one.area for one in found):
        lines += [f"### {area}", "", "| about | what it says | what to do |", "|---|---|---|"]
        for one in (one for one in found if one.area == area):
            lines.append(f"| {_cell(one.subject)} | {_cell(one.received)} | {_cell(one.cure)} |")
        lines.append("")
    return "\n".join(lines)


def raised() -> Iterator[Raised]:
    """Every place in the packages that makes an error."""
    for folder in ("maskanim", "runtime", "app", "train", "export", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            tree = ast.parse(path.read_text("utf-8"))
            area = next(area for place, area in AREAS.items() if name.startswith(place))
            for function in _scopes(tree):
                yield from _raised_in(function, area, _texts(tree.body))


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """Each function with what is in it; inner functions go with the outer, whose variables they see."""
    outer = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inner = {child for node in outer for child in ast.walk(node) if child is not node}
    yield from (node for node in outer if node not in inner)


def _raised_in(function: ast.AST, area: str, constants: dict[str, list[ast.expr]]) -> Iterator[Raised]:
    texts = constants | _texts(ast.walk(function))
    for call in ast.walk(function):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in RAISED:
            continue
        if any(isinstance(arg, ast.Starred) for arg in call.args):
            continue  # another process's error, handed on
        parts = [_told(arg, texts) for arg in call.args]
        if call.func.id == "needs_extra":
            yield Raised(area, parts[0], "the package <name> is not installed", INSTALL.format(parts[1]))
        elif call.func.id == "MissingPackageError":
            yield Raised(area, parts[0], f"the package {parts[1]} is not installed", INSTALL.format(parts[2]))
        else:
            subject, received, expected, cure = (*parts, *4 * [""])[:4]
            yield Raised(area, subject, received, f"Expected: {expected}. {cure}".strip().rstrip(".") + ".")


def _texts(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """Names and the texts that they are given."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target, value in _assigned(node.targets[0], node.value):
                if isinstance(target, ast.Name) and isinstance(value, TEXTS):
                    found.setdefault(target.id, []).append(value)
    return found


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=False)
    else:
        yield target, value


def _told(node: ast.expr, texts: dict[str, list[ast.expr]], depth: int = 0) -> str:
    """An argument as a person reads it: its text, and <name> for what is only known when it is raised."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(_told(part, texts, depth) for part in node.values)
        case ast.FormattedValue():
            return _told(node.value, texts, depth)
        case ast.Name() if node.id in texts and depth < DEEPEST:
            return ", or ".join(dict.fromkeys(_told(text, texts, depth + 1) for text in texts[node.id]))
        case ast.IfExp():
            return f"{_told(node.body, texts, depth)}, or {_told(node.orelse, texts, depth)}"
        case ast.BinOp(op=ast.Add()):
            return _told(node.left, texts, depth) + _told(node.right, texts, depth)
        case _:
            return f"<{_name(node)}>"


def _name(node: ast.expr) -> str:
    """A short name for a value that is only known when the error is raised."""
    found = [getattr(each, "attr", None) or getattr(each, "id", "") for each in ast.walk(node)]
    useful = [name for name in found if name and name not in NAMELESS]
    return (useful[0] if useful else "value").strip("_").lower().replace("_", " ")


def _cell(text: str) -> str:
    told = html.escape(" ".join(text.split()), quote=False)
    return told.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("`", "\\`")
