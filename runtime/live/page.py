"""The live picture as a page for any browser, as a series of JPEGs: no window, nothing to install.

A viewer gets the newest picture whenever it has taken the one before; so a slow one sees fewer, and slows nobody.
"""

from __future__ import annotations

import json
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Condition, Lock, Semaphore, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import cv2

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime.live.hosts import LOOPBACK, in_url, refusal
from maskanim.runtime.live.metrics import CONTENT_TYPE, Metrics
from maskanim.runtime.live.outputs import Output

if TYPE_CHECKING:
    from maskanim.runtime.live.loop import LiveReport

PORT = 8765
MOST_VIEWERS = 16
JPEG_QUALITY = 90
SECONDS_PER_WRITE = 10.0  # a viewer that takes nothing for this long is gone
SECONDS_PER_LOOK = 1.0  # how soon a viewer's thread sees that the page is closed
BOUNDARY = "maskanim-frame"


class Page(Output):
    """Serves the picture at ``/``, its stream at ``/stream`` and how the run stands at ``/status``.

    Args:
        host: the address to listen on; this machine alone unless told otherwise.
        port: 0 takes any that is free.
        metrics: served at ``/metrics``; None leaves them out.

    Raises:
        MaskanimError: it cannot listen there.
    """

    def __init__(self, host: str = LOOPBACK, port: int = PORT, metrics: Metrics | None = None) -> None:
        self.newest, self._metrics, self._dropped = Newest(), metrics, 0
        try:
            self._server = _Server((host, port), self.newest, metrics)
        except (OSError, OverflowError) as error:
            received = f"cannot listen there ({getattr(error, 'strerror', None) or error})"
            next_step = "Choose another port, such as page:8766"
            raise MaskanimError(f"page {in_url(host)}:{port}", received, "a free port", next_step) from error
        self.port = int(self._server.server_address[1])
        self.place = f"http://{in_url(host)}:{self.port}/"
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="maskanim-page", daemon=True)
        self._thread.start()

    def show(self, frame: Frame, captured: float) -> None:
        self.newest.put(frame)
        if self._metrics:
            self._metrics.shown(monotonic() - captured)

    def status(self, report: LiveReport) -> None:
        self.newest.line = str(report)
        if self._metrics:
            self._metrics.dropped.inc(report.dropped - self._dropped)
            self._dropped = report.dropped

    def close(self, error: BaseException | None) -> None:
        self.newest.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Newest:
    """The newest picture. It is encoded once for all viewers, and not at all without any.

    Attributes:
        line: how the run stands.
    """

    def __init__(self) -> None:
        self.line, self.closed = "waiting", False
        self._frame: Frame | None = None
        self._number = 0
        self._changed, self._encoding = Condition(), Lock()
        self._jpeg: tuple[int, bytes] = 0, b""

    def put(self, frame: Frame) -> None:
        """Replace the picture."""
        with self._changed:
            self._frame, self._number = frame, self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """There will be no other."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def after(self, number: int) -> tuple[int, bytes] | None:
        """The newest picture, if it is newer than the one with this number.

        Returns:
            Its number and the picture as a JPEG; None if no newer one comes within a second.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.closed or self._number > number, SECONDS_PER_LOOK):
                return None
            newest, frame = self._number, self._frame
        if frame is None or newest == number:
            return None
        with self._encoding:
            if self._jpeg[0] < newest:
                bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
                encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
                self._jpeg = newest, encoded.tobytes()
            return self._jpeg


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a viewer that takes nothing must not delay the end

    def __init__(self, address: tuple[str, int], newest: Newest, metrics: Metrics | None) -> None:
        self.newest, self.metrics, self.listens_on = newest, metrics, address[0]
        self.seats = Semaphore(MOST_VIEWERS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Viewer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that went away is nothing to report."""


class _Viewer(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "maskanim", ""
    timeout = SECONDS_PER_WRITE

    def do_GET(self) -> None:
        if reason := refusal(self.server.listens_on, str(self.client_address[0]), self.headers):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", f"{reason}\n".encode())
        elif self.path == "/":
            page = files("maskanim.runtime.live").joinpath("page.html").read_bytes()
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page)
        elif self.path == "/status":
            status = json.dumps({"line": self.server.newest.line, "ended": self.server.newest.closed})
            self._answer(HTTPStatus.OK, "application/json", status.encode())
        elif self.path == "/metrics" and self.server.metrics:
            self._answer(HTTPStatus.OK, CONTENT_TYPE, self.server.metrics.text())
        elif self.path == "/stream":
            self._stream()
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"There is nothing here.\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self._headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _headers(self, kind: str) -> None:
        policy = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")

    def _stream(self) -> None:
        if not self.server.seats.acquire(blocking=False):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"Too many viewers; try again later.\n")
            return
        try:
            self._send_pictures()
        except OSError:
            self.close_connection = True
        finally:
            self.server.seats.release()

    def _send_pictures(self) -> None:
        self.send_response(HTTPStatus.OK)
        self._headers(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        if self.command == "HEAD":
            return
        number = 0
        # What the kernel would keep for a slow viewer is old by the time it is seen.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        while not self.server.newest.closed:
            if (newest := self.server.newest.after(number)) is not None:
                number, jpeg = newest
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal shows how the run stands, not who looks."""
