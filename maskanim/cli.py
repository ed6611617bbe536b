"""maskanim: every command as a sub-command of one, with completion for the shell."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from maskanim.errors import run_command

# Each is also a command of its own, maskanim-NAME. A module is imported when its command is asked for, so that
# `maskanim doctor` starts where a library that others need is broken.
COMMANDS = {
    "run": "maskanim.runtime.cli",
    "app": "maskanim.app.cli",
    "train": "maskanim.train.cli",
    "export": "maskanim.export.cli",
    "bench": "maskanim.benchmarks.cli",
    "doctor": "maskanim.runtime.doctor.cli",
    "verify": "maskanim.provenance.cli",
}


class _Lazy(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS:
            command = get_command(import_module(COMMANDS[cmd_name]).app)
            command.name = cmd_name
            return command
        self.commands = {name: self.get_command(ctx, name) for name in COMMANDS}  # of which the message proposes one
        return None


app = typer.Typer(cls=_Lazy, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def maskanim() -> None:
    """Animate one picture by a driving video, from training to a light runtime."""


def main() -> None:
    """Entry point of maskanim."""
    run_command(app)


if __name__ == "__main__":
    main()
