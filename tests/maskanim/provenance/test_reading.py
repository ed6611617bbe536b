"""Reading asks nobody, and maskanim-verify tells what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from maskanim.errors import MaskanimError
from maskanim.provenance import Claim, read_provenance, sign_video
from maskanim.provenance.cli import app
from maskanim.provenance.credentials import load_credentials

c2pa = pytest.importorskip("c2pa", reason="the extra provenance is not installed")


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """What a server was asked for; its address is the first element."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        asked.append(f"http://127.0.0.1:{server.server_port}/manifest")
        Thread(target=server.serve_forever, daemon=True).start()
        yield asked
        server.shutdown()


def sign_elsewhere(video: Path, url: str, claim: Claim) -> None:
    """Sign with the manifest left out, and only its address in the file."""
    key, chain, _ = load_credentials()
    content, remote = video.read_bytes(), video.with_name("remote.mp4")
    with (
        c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, None)) as signer,
        c2pa.Builder.from_json(json.dumps(claim.definition())) as builder,
        video.open("rb") as unsigned,
        remote.open("w+b") as written,
    ):
        builder.set_no_embed()
        builder.set_remote_url(url)
        builder.sign(signer, "mp4", unsigned, written)
    assert remote.read_bytes() != content
    remote.replace(video)


def test_a_manifest_elsewhere_is_not_fetched(video: Path, claim: Claim, requests: list[str]) -> None:
    sign_elsewhere(video, requests[0], claim)
    with pytest.raises(MaskanimError, match="manifest"):
        read_provenance(video)
    assert len(requests) == 1
    with pytest.raises(c2pa.C2paError), video.open("rb") as file:  # the library alone would
        c2pa.Reader("mp4", file, None, c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": True}}))
    assert len(requests) > 1


@pytest.mark.parametrize("content", [b"", b"text", b"\0\0\0\x18ftypmp42"])
def test_what_is_no_video(tmp_path: Path, installation: Path, content: bytes) -> None:
    path = tmp_path / "file.mp4"
    path.write_bytes(content)
    with pytest.raises(MaskanimError, match=r"expected a video with a valid C2PA manifest"):
        read_provenance(path)


def test_the_command_tells_what_it_found(video: Path, claim: Claim) -> None:
    sign_video(video, claim)
    result = CliRunner().invoke(app, [str(video)])
    assert result.exit_code == 0, result.output
    valid, signer, made, model = result.stdout.splitlines()
    assert valid == f"valid: {video} is as it was signed"
    assert signer.startswith("signer: maskanim, key of one installation (known here")
    assert made.startswith("made by: maskanim ") and made.endswith(", trainedAlgorithmicMedia")
    assert claim.model in model and claim.model_sha256 in model


def test_a_signer_whom_nobody_knows_is_called_so(
    video: Path, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_video(video, claim)
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "elsewhere"))
    assert "unknown: anyone can make such a key" in CliRunner().invoke(app, [str(video)]).stdout


@pytest.mark.parametrize("name", ["video.mp4", "missing.mp4", "."])
def test_the_command_refuses_in_one_line(video: Path, name: str) -> None:
    result = CliRunner().invoke(app, [str(video.parent / name)])
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
