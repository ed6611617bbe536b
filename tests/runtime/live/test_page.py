"""The page: pictures for whoever may look, refusals for the rest, and no viewer that slows the loop."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime.live import LiveReport, Page
from maskanim.runtime.live.hosts import host_is_ours
from maskanim.runtime.live.metrics import Metrics, metrics_of
from maskanim.runtime.live.page import MOST_VIEWERS


@pytest.fixture
def page() -> Iterator[Page]:
    with Page(port=0) as page:
        assert isinstance(page, Page)
        yield page


def grey(level: int) -> Frame:
    return np.full((256, 256, 3), level, np.uint8)


def ask(page: Page, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def read_picture(response: http.client.HTTPResponse) -> Frame:
    while not (line := response.readline()).startswith(b"Content-Length"):
        assert line, "the stream ended"
    response.readline()
    jpeg = response.read(int(line.split(b":")[1]))
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_two_viewers_see_the_newest_picture_and_how_the_run_stands(page: Page) -> None:
    page.show(grey(40), 0)
    viewers = [ask(page, "/stream"), ask(page, "/stream")]
    for level in (40, 200):
        page.show(grey(level), 0)
        for viewer in viewers:
            while abs(int((picture := read_picture(viewer))[0, 0, 0]) - level) > 2:
                pass
            assert picture.shape == (256, 256, 3)
    report = LiveReport(4, 6, 2, None)
    page.status(report)
    assert json.loads(ask(page, "/status").read()) == {"line": str(report), "ended": False}


def test_the_page_asks_nothing_of_anyone_else(page: Page) -> None:
    response = ask(page, "/")
    html = response.read().decode()
    assert response.status == 200 and "/stream" in html and "http" not in html
    assert "aspect-ratio: auto" in html, "side by side, pictures are wide"
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/stream", "/nothing"])
@pytest.mark.parametrize("host", ["localhost", "attacker.example"])
def test_head_is_answered_as_get_without_a_body(path: str, host: str) -> None:
    pytest.importorskip("prometheus_client", reason="/metrics needs the extra metrics")
    with Page(port=0, metrics=Metrics()) as page:
        assert isinstance(page, Page)
        page.show(grey(40), 0)
        head, get = (ask(page, path, method, Host=host) for method in ("HEAD", "GET"))
        assert head.status == get.status and head.read() == b""
        told = [{name: value for name, value in answer.getheaders() if name != "Date"} for answer in (head, get)]
        assert told[0] == told[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_else_is_done_there(page: Page, method: str) -> None:
    assert ask(page, "/", method).status == 501


def test_a_viewer_that_takes_nothing_slows_nobody(page: Page) -> None:
    idle = socket.create_connection(("127.0.0.1", page.port))
    idle.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)  # large as a JPEG
    watching, slowest = ask(page, "/stream"), 0.0
    for _ in range(100):
        start = time.monotonic()
        page.show(noise, 0)
        slowest = max(slowest, time.monotonic() - start)
        read_picture(watching)
    idle.close()
    # Handing over is a lock and an assignment; a busy machine may interrupt it, waiting for a socket takes 10 s.
    assert slowest < 0.5


def test_too_many_viewers_are_refused(page: Page) -> None:
    viewers = []
    for _ in range(MOST_VIEWERS):
        viewers.append(ask(page, "/stream"))
    page.show(grey(1), 0)
    for viewer in viewers:
        read_picture(viewer)
    assert ask(page, "/stream").status == 503


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8765"}, 200),
        ({"Host": "[::1]:8765"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "127.0.0.1.attacker.example:8765"}, 403),
        ({"Host": "192.168.1.5"}, 403),
        ({"Host": ""}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}, 200),
    ],
)
def test_only_requests_meant_for_it_are_answered(page: Page, headers: dict[str, str], status: int) -> None:
    for path in ("/", "/status"):
        assert ask(page, path, **headers).status == status


def test_another_address_finds_nobody(page: Page) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", page.port), timeout=2)


def test_what_is_not_there(page: Page) -> None:
    assert ask(page, "/../page.html").status == 404


def test_a_port_in_use_is_one_line(page: Page) -> None:
    with pytest.raises(MaskanimError, match=f"page 127.0.0.1:{page.port}: cannot listen there"):
        Page(port=page.port)
    with pytest.raises(MaskanimError, match="cannot listen there"):
        Page(port=99999)


def test_closing_ends_the_streams() -> None:
    with Page(port=0) as page:
        assert isinstance(page, Page)
        page.show(grey(9), 0)
        viewer = ask(page, "/stream")
        read_picture(viewer)
    assert viewer.read() in (b"", b"\r\n")
    with pytest.raises(ConnectionRefusedError):
        ask(page, "/")


def test_on_every_address_only_numbers_and_known_names_pass() -> None:
    for told, header, ours in (
        ("0.0.0.0", "192.168.1.5:7860", True),
        ("0.0.0.0", "attacker.example", False),
        ("studio.lan", "studio.lan:7860", True),
        ("127.0.0.1", None, False),
    ):
        assert host_is_ours(header, told) is ours


def test_metrics_are_served_to_those_whom_the_page_serves() -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra metrics")
    engine = SimpleNamespace(name="ort", detail="ONNX Runtime, threads: 2")
    model = SimpleNamespace(manifest=SimpleNamespace(name="tiny"))
    with Page(port=0, metrics=metrics_of(SimpleNamespace(engine=engine, model=model))) as page:  # type: ignore[arg-type]
        assert isinstance(page, Page)
        for age in (0.04, 0.4):
            page.show(grey(40), time.monotonic() - age)
        for dropped in (2, 5):
            page.status(LiveReport(2, 9, dropped, None))
        told = ask(page, "/metrics")
        lines = told.read().decode().splitlines()
        assert ask(page, "/metrics", Host="evil.example").status == ask(page, "/metrics", Origin="null").status == 403
    assert told.status == 200 and told.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert {"maskanim_frames_total 2.0", "maskanim_dropped_frames_total 5.0", "maskanim_errors_total 0.0"} <= {*lines}
    assert 'maskanim_engine_info{detail="ONNX Runtime, threads: 2",engine="ort",model="tiny"} 1.0' in lines
    assert (
        'maskanim_frame_age_seconds_bucket{le="0.1"} 1.0' in lines and "maskanim_frame_age_seconds_count 2.0" in lines
    )


def test_without_the_package_there_are_no_metrics(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert metrics_of(SimpleNamespace()) is None and ask(page, "/metrics").status == 404  # type: ignore[arg-type]
