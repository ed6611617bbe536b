"""Every command with its options, as it describes itself."""

from __future__ import annotations

import html
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from typer.main import get_command

from maskanim.cli import COMMANDS


def commands() -> str:
    """All commands as Markdown."""
    return "\n".join(line for name, module in COMMANDS.items() for line in _told(f"maskanim-{name}", _command(module)))


def _command(module: str) -> Any:
    return get_command(import_module(module).app)


def _told(name: str, command: Any, level: int = 2) -> Iterator[str]:
    yield from ("", f"{'#' * level} {name}", "", *(_text(line) for line in (command.help or "").splitlines()), "")
    options = [each for each in command.params if each.name not in ("help", "install_completion", "show_completion")]
    if options:
        yield from ("| option | what it does | default |", "|---|---|---|", *map(_row, options))
    for inner, each in getattr(command, "commands", {}).items():
        yield from _told(f"{name} {inner}", each, level + 1)


def _row(option: Any) -> str:
    names = ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    if option.param_type_name == "argument":
        names = f"`{option.name.upper()}`"
    default = option.default
    silent = default is None or isinstance(default, bool) or callable(default)
    told = "required" if option.required else "" if silent else f"`{default}`"
    return f"| {names} | {_text(option.help or '')} | {told} |"


def _text(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("*", "\\*")
