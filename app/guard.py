"""What stands in front of the page: only requests meant for it, of the kinds it makes itself, and of bounded size."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskanim.app.limits import MEGABYTE, Limits, check_uploaded
from maskanim.errors import MaskanimError
from maskanim.runtime.live.hosts import refusal

SERVER_LOG = logging.getLogger("uvicorn.error")
API = "/gradio_api"
# All that the page asks for. Gradio offers more, such as a proxy and a recorder, which nothing here uses.
READ = ("/", "/config", "/config/", "/favicon.ico", "/manifest.json", "/theme.css", "/pwa_icon", "/metrics")
READ_BELOW = ("/assets/", "/static/", "/svelte/", f"{API}/heartbeat/")
READ_API = tuple(f"{API}/{name}" for name in ("app_id", "info", "queue/data", "startup-events", "upload_progress"))
POSTED = tuple(f"{API}/{name}" for name in ("cancel", "queue/join", "reset", "reset/", "run/predict", "upload"))
POSTED_BELOW = (f"{API}/stream/",)
CALLS = (f"{API}/queue/join", f"{API}/run/predict")
FILE, UPLOAD = f"{API}/file=", f"{API}/upload"

BODY_BYTES = 8 * MEGABYTE  # of a request that is no upload: a picture of a camera, as text
FORM_BYTES = 64_000  # what the form around an uploaded file takes
HEADERS = {
    "content-security-policy": "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error
    """An answer without asking the page: a status and a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """An ASGI application in front of another one.

    Args:
        host: what the server was told to listen on; where that is this machine alone, other addresses are refused.
        functions: how many values each of the page's functions takes, by its number; Gradio calls any other number a
            fault of its own.
    """

    def __init__(self, page: ASGIApp, host: str, folder: Path, limits: Limits, functions: Mapping[int, int]) -> None:
        self._page, self._host, self._folder, self._limits, self._functions = page, host, folder, limits, functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's start and end; the page uses no web socket
            if scope["type"] == "lifespan":
                await self._page(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            length = self._check(scope)
            if scope["method"] == "POST" and scope["path"] != UPLOAD:
                body = await _read(receive, length)
                self._check_body(body, calls=scope["path"] in CALLS)
                receive = _again(body, receive)
        except Refusal as refused:
            # What was not read of the request must not be taken for the next one.
            answer = PlainTextResponse(f"{refused.reason}\n", refused.status, {"connection": "close"})
            await answer(scope, receive, send_with_headers)
            return
        if scope["method"] == "HEAD":  # which Gradio refuses; the server leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            await self._page(scope, receive, send_with_headers)
        except Exception as error:  # Gradio has answered: it takes a request that means nothing for a fault of its own
            SERVER_LOG.error("a request to %r failed: %r", scope["path"], error)

    def _check(self, scope: Scope) -> int:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if reason := refusal(self._host, (scope.get("client") or ("",))[0], headers):
            raise Refusal(403, reason)
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD"):
            if path.startswith(FILE):
                self._check_file(path.removeprefix(FILE))
            elif not (path in READ or path in READ_API or path.startswith(READ_BELOW)):
                raise Refusal(404, "There is nothing here.")
            return 0
        if method != "POST" or not (path in POSTED or path.startswith(POSTED_BELOW)):
            raise Refusal(405, "The page does not ask for this.")
        return self._length(path, headers.get("content-length", ""))

    def _length(self, place: str, stated: str) -> int:
        if not stated.isdecimal():
            raise Refusal(411, "A request has to state its length.")
        length, most = int(stated), self._limits.bytes if place == UPLOAD else BODY_BYTES
        if length > most + (FORM_BYTES if place == UPLOAD else 0):
            raise Refusal(413, f"This is larger than the {most / MEGABYTE:g} MB that are allowed.")
        kept = (path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        if place == UPLOAD and length + sum(kept) > self._limits.folder_bytes:
            raise Refusal(507, "There is no more room for uploads; try again later.")
        return length

    def _check_body(self, body: bytes, *, calls: bool) -> None:
        try:
            asked = json.loads(body or b"null")
            paths = list(_paths(asked))
        except (ValueError, RecursionError):
            raise Refusal(400, "This is not what the page sends.") from None
        for path in paths:
            self._check_file(path)
        if calls and not self._is_call(asked):
            raise Refusal(400, "This is not what the page sends.")

    def _is_call(self, asked: object) -> bool:
        """Whether a request names one of the page's functions, and gives it as many values as it takes."""
        number, data = (asked.get("fn_index"), asked.get("data")) if isinstance(asked, dict) else (None, None)
        return isinstance(number, int) and isinstance(data, list) and self._functions.get(number) == len(data)

    def _check_file(self, path: object) -> None:
        try:
            check_uploaded(path, self._folder)
        except MaskanimError:
            raise Refusal(403, "This is not a file that was uploaded to this page.") from None


def _paths(value: object) -> Iterator[object]:
    """Every path that a request names, however deep."""
    if isinstance(value, dict):
        if value.get("path"):
            yield value["path"]
        for part in value.values():
            yield from _paths(part)
    elif isinstance(value, list):
        for part in value:
            yield from _paths(part)


async def _read(receive: Receive, length: int) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    if len(body) > length:
        raise Refusal(413, "This is longer than it said.")
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read by the next one."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again
