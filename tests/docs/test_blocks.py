"""Every shell and Python block of the pages is run, or says why not and is at least what the commands would take."""

from __future__ import annotations

import ast
import doctest
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.blocks import Block, blocks, commands, own, parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CHECKED = ("sh", "python", "pycon")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
OTHERS = {
    "pip",
    "python",
    "python3",
    "pytest",
    "source",
    "apt-get",
    "docker",
    "pre-commit",
    "torchrun",
    ".ci/run",
    "tests/run",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_that_can_be_run_runs(page: Path, material: Path) -> None:
    """In order, in one folder; Python blocks of a page see what those before have made."""
    seen: dict[str, object] = {}
    for block in blocks(page):
        if block.language not in CHECKED or block.why_not:
            continue
        _run(block, seen)


def _run(block: Block, seen: dict[str, object]) -> None:
    if block.language == "python":
        exec(compile(block.code, block.place, "exec"), seen)
    elif block.language == "pycon":
        test = doctest.DocTestParser().get_doctest(block.code, seen, block.place, block.place, 0)
        told: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=told.append, clear_globs=False)
        seen.update(test.globs)
        assert not told, "".join(told)
    else:
        for words in commands(block.code):
            called = own(words)
            assert called, f"{block.place}: say why `{' '.join(words)}` is not run"
            program = import_module("maskanim.cli").app if words[0] == "maskanim" else _app(words[0])
            shown = CliRunner().invoke(program, called[1])
            assert shown.exit_code == 0, f"{block.place}: {' '.join(words)}\n{shown.output}"


def _app(name: str) -> object:
    return import_module(import_module("maskanim.cli").COMMANDS[name.removeprefix("maskanim-")]).app


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_code_that_exists(page: Path) -> None:
    """Also those that are not run: options, extras, files and imported names are there."""
    for block in blocks(page):
        if block.language == "sh":
            for words in commands(block.code):
                _check_command(words, block.place)
        elif block.language == "python":
            _check_imports(ast.parse(block.code), block.place)


def _check_command(words: list[str], place: str) -> None:
    called = own(words)
    if called:
        parse(*called)  # raises for an option that is not there
    else:
        assert Path(words[0]).name in OTHERS or words[0] in OTHERS, f"{place}: what is {words[0]}?"
    for extra in re.findall(r"(?:maskanim|\.)\[([\w,]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= set(EXTRAS), f"{place}: {extra}"
    for file in (word for word in words if word.endswith(".py")):
        assert (ROOT / file).is_file(), f"{place}: {file}"


def _check_imports(tree: ast.Module, place: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("maskanim"):
            module = import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name), f"{place}: {node.module} has no {name.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        assert block.language, f"{block.place}: a block without a language"
        if block.mark.startswith("not run"):
            assert len(block.why_not) > 10, f"{block.place}: why?"


def test_a_wrong_option_is_found() -> None:
    """The check itself: what it is good for."""
    command, arguments = own(["maskanim-run", "--sauce", "a.jpg"]) or (None, [])
    with pytest.raises(Exception, match="--sauce"):
        parse(command, arguments)
    command, arguments = own(["maskanim", "bench", "quality", "nets", "--fetsh"]) or (None, [])
    with pytest.raises(Exception, match="--fetsh"):
        parse(command, arguments)


def test_the_readme_is_short_and_its_table_of_commands_is_true() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    rows = re.findall(r"^\| [^|`]+ \| `(maskanim-[^`]+)` \|$", text, re.MULTILINE)
    assert len(rows) >= 12
    for row in rows:
        _check_command(row.split(), "README.md")
