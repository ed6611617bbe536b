"""maskanim-app: what it says and refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskanim.app import server
from maskanim.app.cli import app
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_no_gradio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "maskanim.app.page", raising=False)
    monkeypatch.delitem(sys.modules, "maskanim.app.theme", raising=False)
    result = CliRunner().invoke(app, ["--port=0"])
    assert result.exit_code == 2 and "pip install 'maskanim[app]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = CliRunner().invoke(app, [f"--port={port}"])
    assert result.exit_code == 2 and f"127.0.0.1:{port}: cannot listen there" in result.stderr


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--max-seconds=0", "limit of seconds"),
        ("--max-megabytes=nan", "--max-megabytes: nan; expected a number"),
        ("--max-megapixels=inf", "--max-megapixels: inf; expected a number"),
        ("--port=99999", "free port"),
        ("--host=b\u00fc..x", "an address of this machine"),
        ("--least-psnr=0", "least PSNR: 0; expected a number of dB"),
        ("--least-psnr=nan", "least PSNR: nan; expected a number of dB"),
    ],
)
def test_impossible_settings(flag: str, told: str) -> None:
    result = CliRunner().invoke(app, [flag])
    assert result.exit_code == 2 and told in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whatever_ends_it_no_upload_is_left(number: str, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from maskanim.app.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline().startswith("maskanim-app: http")
    (folder,) = tmp_path.glob("maskanim-app-*")
    (folder / "upload.png").write_bytes(b"a face")
    time.sleep(1)
    process.send_signal(getattr(signal, number))
    told = process.communicate(timeout=30)
    assert (process.returncode, *told) == (0, "", "") and not list(tmp_path.glob("maskanim-app-*"))


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_everyone_is_a_warning(host: str, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    monkeypatch.setattr(server, "serve", lambda application, listening: None)
    result = CliRunner().invoke(app, [f"--host={host}", "--port=0"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"maskanim-app: http://{host}:")
    assert (f"warning: everyone who reaches {host} can use this page" in result.stdout) is warned


def test_the_quality_that_is_asked_for_reaches_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[RunOptions] = []
    monkeypatch.setattr(Animator, "open", lambda model, engine, options: opened.append(options))
    monkeypatch.setattr(server, "page", lambda host, worker, *_: nullcontext(worker))
    monkeypatch.setattr(server, "serve", lambda worker, _: worker._open_model("demo", "auto"))
    assert CliRunner().invoke(app, ["--port=0"]).exit_code == 0
    assert CliRunner().invoke(app, ["--port=0", "--least-psnr=38.5"]).exit_code == 0
    assert [options.least_psnr for options in opened] == [45, 38.5]
