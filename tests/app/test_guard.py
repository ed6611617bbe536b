"""What the running page answers to whom: plain HTTP against the real server."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from maskanim.app.guard import Guard
from maskanim.app.limits import Limits

BOUNDARY = "frontier"
JSON = {"Content-Type": "application/json"}


def ask(served: Any, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upload(served: Any, name: str, content: bytes, **headers: str) -> tuple[int, bytes]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return ask(served, "POST", "/gradio_api/upload", body, Content_Type=kind, **headers)


def announce(served: Any, path: str, length: int) -> tuple[int, bytes]:
    """Say how long a request will be, and see what the page says before any of it is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    try:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_the_page_is_there_and_asks_nobody_else(served: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200 and b"gradio-app" in answer.read()
    assert "default-src 'self'" in (answer.getheader("Content-Security-Policy") or "")


@pytest.mark.parametrize("path", ["/", "/config", "/metrics", "/theme.css", "/nothing", "/gradio_api/file=/etc/passwd"])
def test_head_is_answered_as_get_without_a_body(served: Any, path: str) -> None:
    status, body = ask(served, "GET", path)
    assert body and ask(served, "HEAD", path) == (status, b"")


def test_metrics_are_for_those_whom_the_page_is_for(served: Any) -> None:
    status, told = ask(served, "GET", "/metrics")
    assert status == 200 and b"# TYPE maskanim_frames_total counter" in told
    assert ask(served, "GET", "/metrics", Host="evil.example")[0] == 403
    assert ask(served, "GET", "/metrics", Origin="http://evil.example")[0] == 403


@pytest.mark.parametrize(
    "asked",
    [
        {"fn_index": 999, "data": []},
        {"fn_index": -5, "data": []},
        {"fn_index": 2, "data": []},  # what stops another one: the page's own script does it
        {"fn_index": 0, "data": [1, 2, 3]},  # takes four values
        {"fn_index": None, "data": []},
        {"fn_index": [0], "data": []},
        {"fn_index": 0},
        {"data": []},
        {},
        [],
        None,
        3,
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["queue/join", "run/predict"])
def test_a_call_of_no_function_of_the_page_is_refused(served: Any, asked: Any, place: str) -> None:
    body = json.dumps(asked | {"session_hash": "x"} if isinstance(asked, dict) else asked).encode()
    told = ask(served, "POST", f"/gradio_api/{place}", body, **JSON)
    assert told == (400, b"This is not what the page sends.\n")


def test_a_failure_of_gradio_is_a_line_and_no_traceback(served: Any) -> None:
    for _ in range(2):
        with pytest.raises(http.client.IncompleteRead) as told:  # Gradio answers, and then fails
            ask(served, "GET", "/gradio_api/queue/data?session_hash=nobody")
        assert b"session_not_found" in told.value.partial
        lines = [served.process.stderr.readline().split(None, 1)[1] for _ in range(2)]
        assert lines[0].startswith("a request to '/gradio_api/queue/data' failed: RuntimeError(")
        assert lines[1] == "ASGI callable returned without completing response.\n"  # of uvicorn


def test_an_upload_over_the_limit_is_refused(served: Any) -> None:
    before = files_in(served.folder)
    status, told = announce(served, "/gradio_api/upload", 3_000_000)
    assert status == 413 and b"2 MB" in told and files_in(served.folder) == before
    status, told = upload(served, "small.png", b"x" * 1000)
    assert status == 200
    (path,) = json.loads(told)
    assert Path(path).is_relative_to(served.folder) and ask(served, "GET", f"/gradio_api/file={path}")[0] == 200


def test_an_upload_that_does_not_say_how_long_it_is_is_refused(served: Any) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        head = "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 411")


@pytest.mark.parametrize("name", ["../../escaped.png", "/tmp/escaped.png", "..\\escaped.png", "a/../../escaped.png"])
def test_an_uploads_name_does_not_lead_out_of_the_folder(served: Any, name: str) -> None:
    status, told = upload(served, name, b"x")
    if status == 200:
        assert Path(json.loads(told)[0]).resolve().is_relative_to(served.folder)
    assert all(path.is_relative_to(served.folder) for path in served.temporary.rglob("*escaped*"))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../../etc/passwd", "https://example.org/cat.png", "pyproject.toml"]
)
def test_a_path_outside_the_upload_folder_is_refused(served: Any, path: str) -> None:
    assert ask(served, "GET", f"/gradio_api/file={path}")[0] == 403
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for data in ([file, None, "demo", "auto"], [None, {"video": file}, "demo", "auto"]):
        body = json.dumps({"data": data, "fn_index": 0, "session_hash": "s"}).encode()
        for place in ("queue/join", "run/predict"):
            status, told = ask(served, "POST", f"/gradio_api/{place}", body, **JSON)
            assert status == 403 and b"not a file that was uploaded" in told


def test_what_is_no_request_of_the_page(served: Any) -> None:
    assert ask(served, "POST", "/gradio_api/queue/join", b"{not json", **JSON)[0] == 400
    assert ask(served, "POST", "/gradio_api/queue/join", b"[" * 100_000, **JSON)[0] == 400
    assert announce(served, "/gradio_api/queue/join", 9_000_000)[0] == 413
    assert ask(served, "PUT", "/")[0] == 405
    for path in ("/gradio_api/proxy=http://127.0.0.1/", "/docs", "/openapi.json", "/monitoring", "/gradio_api/runs"):
        assert ask(served, "GET", path)[0] == 404
    assert ask(served, "POST", "/gradio_api/call/run", b"{}", **JSON)[0] == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "attacker.example"}, 403),
        ({"Host": "attacker.example:7860"}, 403),
        ({"Host": "localhost:7860"}, 200),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"X_Forwarded_For": "192.168.1.5", "X_Forwarded_Host": "attacker.example"}, 200),
    ],
)
def test_only_requests_meant_for_it_are_answered(served: Any, headers: dict[str, str], status: int) -> None:
    assert ask(served, "GET", "/config", **headers)[0] == status
    if status != 200:
        assert upload(served, "cat.png", b"x", **headers)[0] == status


def test_another_address_finds_nobody(served: Any) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", served.port), timeout=2)


def passed(guard_host: str, client: str, host: str) -> int:
    """What the guard alone answers to a client of an address, which a test cannot be: its status, 200 if it passes."""
    statuses: list[int] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "client": (client, 1),
        "headers": [(b"host", host.encode())],
    }
    asyncio.run(Guard(page, guard_host, Path("/nowhere"), Limits(), {})(scope, receive, send))
    return statuses[0]


def test_a_request_from_another_address_is_refused_unless_told_otherwise() -> None:
    assert passed("127.0.0.1", "192.168.1.5", "127.0.0.1") == 403
    assert passed("127.0.0.1", "127.0.0.1", "127.0.0.1") == 200
    assert passed("0.0.0.0", "192.168.1.5", "192.168.1.2:7860") == 200
    assert passed("0.0.0.0", "192.168.1.5", "attacker.example") == 403


def test_there_is_an_end_to_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "kept.mp4").write_bytes(bytes(900))
    guard = Guard(None, "127.0.0.1", tmp_path, Limits(bytes=500, folder_bytes=1000), {})  # type: ignore[arg-type]
    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"host", b"localhost"), (b"content-length", b"200")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/upload",
        "client": ("127.0.0.1", 1),
        "headers": headers,
    }
    asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
    assert answers[0]["status"] == 507
