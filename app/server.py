"""The page, served: behind its guard, with a folder for what is uploaded that goes when it ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from types import FrameType
from typing import Any

from starlette.types import ASGIApp

from maskanim.app.guard import Guard
from maskanim.app.limits import AppContext, Limits
from maskanim.app.worker import ModelWorker, engines, models
from maskanim.errors import MaskanimError, needs_extra, reason
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.live.hosts import in_url
from maskanim.runtime.live.metrics import CONTENT_TYPE

SUBJECT = "maskanim-app"
SECONDS_KEPT = 3600.0
LOOKS_PER_STAY = 10
# Gradio reads these when it is imported: no word home, and uploads where they are removed.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
# A client that Gradio makes when it is imported refuses some values of these, and the page asks nothing of any server.
PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "sslkeylogfile")


@contextmanager
def page(host: str, worker: ModelWorker, limits: Limits, bundles: Path | None = None) -> Iterator[ASGIApp]:
    """The guarded page as an ASGI application; what was uploaded and made is gone when the block ends.

    Args:
        worker: runs the model; closed when the block ends, before the files go that it may be working on.
        bundles: a folder with models to choose from; see `worker.models`.

    Raises:
        MissingPackageError: the extra ``app`` is not installed.
    """
    with TemporaryDirectory(prefix="maskanim-app-") as place, worker, _environment(GRADIO_TEMP_DIR=place, **QUIET):
        folder = Path(place).resolve()
        with needs_extra(SUBJECT, "app"):
            import fastapi
            import gradio as gr

            from maskanim.app.page import build
            from maskanim.app.theme import THEME
        blocks = build(AppContext(worker, models(bundles), engines(), limits, folder))
        api = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        api.add_route("/metrics", lambda _: fastapi.Response(worker.metrics.text(), media_type=CONTENT_TYPE))
        mounted: Any = gr.mount_gradio_app(
            api,
            blocks,
            "",
            server_name=host,
            max_file_size=limits.bytes,
            theme=THEME,
            css=files("maskanim.app").joinpath("style.css").read_text("utf-8"),
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
        )
        with cleanup(folder):
            functions = {number: len(each.inputs) for number, each in blocks.fns.items() if each.fn}
            yield Guard(mounted, host, folder, limits, functions)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Some variables set, and those of PROXIES not, while the block lasts."""
    before = dict(os.environ)
    for name in [name for name in before if name.lower() in PROXIES]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def cleanup(folder: Path, seconds: float = SECONDS_KEPT) -> Iterator[None]:
    """Delete what is older in a folder, again and again while the block runs; what is there before it stays.

    Gradio's own cleanup passes over some of the files that a page shows.

    Args:
        seconds: how long a file is kept after its last change, give or take a tenth.
    """
    ended, kept = Event(), set(folder.rglob("*"))

    def remove_often() -> None:
        while not ended.wait(seconds / LOOKS_PER_STAY):
            remove_old(folder, time.time() - seconds, kept)

    thread = Thread(target=remove_often, name="maskanim-cleanup", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def remove_old(folder: Path, before: float, kept: set[Path]) -> None:
    """Delete the files, and the empty folders, that were last changed before a time.

    A folder changes when a file in it is deleted: so it goes a stay later than its last file.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        with suppress(OSError):  # someone else was faster, or the folder is not empty
            if path not in kept and path.stat().st_mtime < before:
                path.rmdir() if path.is_dir() else path.unlink()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, or one clear line.

    Raises:
        MaskanimError: nothing can listen there.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError, TypeError, UnicodeError) as error:  # the last two: of a name that is none
        received = f"cannot listen there ({reason(error)})"
        expected, next_step = "an address of this machine and a free port", "Choose others with --host and --port"
        raise MaskanimError(f"{in_url(host)}:{port}", received, expected, next_step) from error


def serve(application: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until the process is interrupted or told to end; only in the main thread."""
    import uvicorn

    settings = uvicorn.Config(
        application,
        log_level="error",
        access_log=False,
        proxy_headers=False,  # a header must not say where a request comes from
        server_header=False,
        timeout_graceful_shutdown=2,
        limit_concurrency=200,
    )
    server = uvicorn.Server(settings)
    with _Ending(server).heard():
        server.run(sockets=[listening])


class _Ending(Interrupts):
    """Every signal ends the server, also when uvicorn passes it on: who died of it would leave the folder."""

    def __init__(self, server: Any) -> None:
        super().__init__()
        self._server = server

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._server.handle_exit(number, frame)
