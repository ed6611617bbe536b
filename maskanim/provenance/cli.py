"""maskanim-verify: what a video says of its making, and whether that holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskanim.errors import one_line_errors, run_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@one_line_errors
def verify(video: Annotated[Path, typer.Argument(help="The video to check.")]) -> None:
    """Check a video's C2PA manifest with c2pa's own reader, without the network; exit code 2 if it does not hold."""
    from maskanim.provenance.manifest import read_provenance

    found = read_provenance(video)
    typer.echo(f"valid: {video} is as it was signed")
    known = "known here or to C2PA's list" if found.trusted else "unknown: anyone can make such a key"
    typer.echo(f"signer: {found.signer or 'not named'} ({known})")
    typer.echo(f"made by: {found.software or 'not named'}, {found.source_type or 'no digital source type'}")
    if found.model:
        typer.echo(f"model: {found.model}, sha256 of its manifest {found.model_sha256}")


def main() -> None:
    """Entry point of maskanim-verify."""
    run_command(app)


if __name__ == "__main__":
    main()
