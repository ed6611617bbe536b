"""maskanim-app: the page for the browser."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from maskanim.errors import MaskanimError, needs_extra, one_line_errors, run_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@one_line_errors
def run(
    host: Annotated[str, typer.Option(help="The address to listen on; others than this machine need another.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="The port; 0 takes any that is free.")] = 7860,
    models: Annotated[
        Path | None, typer.Option(help="A folder of bundles to choose from. (default: 'models' in maskanim's folder)")
    ] = None,
    max_megabytes: Annotated[float, typer.Option(help="Of one uploaded file.")] = 200,
    max_megapixels: Annotated[float, typer.Option(help="Of a picture, and of a clip's frame.")] = 40,
    max_seconds: Annotated[float, typer.Option(help="Of a clip.")] = 120,
    max_waiting: Annotated[int, typer.Option(help="Requests that may wait for their turn.")] = 8,
    least_psnr: Annotated[
        float, typer.Option(help="What a frame keeps where a processor runs networks in BF16 or INT8, in dB.")
    ] = 45.0,
) -> None:
    """Serve a page on which a picture and a clip are dropped, animated and downloaded, and a camera can be tried."""
    with needs_extra("maskanim-app", "app"):
        import gradio  # noqa: F401 - it is the extra that is missing then, not one of those that it has in it
    from maskanim.app.limits import MEGABYTE, Limits
    from maskanim.app.server import listen, page, serve
    from maskanim.app.worker import ModelWorker
    from maskanim.runtime.animator import Animator
    from maskanim.runtime.backends import AUTO, RunOptions, check_backend
    from maskanim.runtime.live.hosts import in_url, is_loopback

    for flag, value in (("--max-megabytes", max_megabytes), ("--max-megapixels", max_megapixels)):
        if not math.isfinite(value):
            raise MaskanimError(flag, f"{value}", "a number above zero")
    limits = Limits(int(max_megabytes * MEGABYTE), int(max_megapixels * 1e6), max_seconds, max_waiting)
    options = RunOptions(least_psnr=least_psnr)
    check_backend(AUTO, options)
    worker = ModelWorker(partial(Animator.open, options=options))
    with listen(host, port) as listening, page(host, worker, limits, models) as application:
        typer.echo(f"maskanim-app: http://{in_url(host)}:{listening.getsockname()[1]}/ (end it with Ctrl-C)")
        if not is_loopback(host):
            typer.echo(f"warning: everyone who reaches {host} can use this page, and this machine's processor")
        serve(application, listening)


def main() -> None:
    """Entry point of maskanim-app."""
    run_command(app)


if __name__ == "__main__":
    main()
