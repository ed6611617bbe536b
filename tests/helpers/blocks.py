"""The code blocks of Markdown pages, and what their shell lines call."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from typer.main import get_command

from maskanim import cli

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*) -->\n)?^```(?P<language>[\w{}-]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMENT = re.compile(r"(^|\s)#\s.*$", re.MULTILINE)
SEPARATORS = "\n&|;"
PROGRAM = re.compile(r"maskanim(?:-(\w+))?$")


class Block(NamedTuple):
    """A fenced block: its page and line, its language, what the comment above it says, and what is in it."""

    place: str
    language: str
    mark: str
    code: str

    @property
    def why_not(self) -> str:
        """Why it is not run; empty where it is."""
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run: ") else ""


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, from the first on."""
    text = page.read_text("utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(f"{page.name}:{line}", found["language"], found["mark"] or "", found["code"])


def commands(code: str) -> Iterator[list[str]]:
    """The commands of shell code, split into words, without comments."""
    words = shlex.shlex(COMMENT.sub("", code).replace("\\\n", " "), posix=True, punctuation_chars=SEPARATORS)
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    command: list[str] = []
    for word in (*words, "\n"):
        if not set(word) <= set(SEPARATORS):
            command.append(word)
        elif command:
            yield command
            command = []


def own(command: list[str]) -> tuple[Any, list[str]] | None:
    """Which of our commands it calls, and with what; None for others'."""
    if "-m" in command and command[command.index("-m") + 1] == "maskanim.train":
        command = ["maskanim-train", *command[command.index("-m") + 2 :]]
    found = PROGRAM.match(Path(command[0]).name)
    if not found:
        return None
    app = cli.app if found[1] is None else import_module(cli.COMMANDS[found[1]]).app
    return get_command(app), command[1:]


def parse(command: Any, arguments: list[str]) -> None:
    """Parse arguments as the command would, down to its innermost command, and run nothing.

    Raises whatever the command raises for a mistake.
    """
    context = command.make_context(command.name or "maskanim", list(arguments), resilient_parsing=False)
    with context:
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if hasattr(command, "resolve_command") and rest:
            _, inner, rest = command.resolve_command(context, rest)
            parse(inner, rest)
