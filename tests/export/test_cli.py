"""maskanim-export: what it prints, what it registers, and its one-line errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maskanim import models
from maskanim.export import build, cli
from maskanim.export.cli import app
from maskanim.networks import Networks
from maskanim.spec import NETWORKS


def test_export_prints_and_registers(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = exported.result.stdout
    assert "model: tiny (custom)" in told and "float16 weights" in told
    for name in NETWORKS:
        assert f"{name}.onnx" in told
        assert f"exporting {name}" in exported.result.stderr
    assert "final frame" in told and "of 12288 mask pixels" in told and "Next: maskanim-run --source" in told
    monkeypatch.setenv("MASKANIM_HOME", str(exported.home))
    assert models.choose(None).bundle == exported.bundle


def test_no_register(exported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "export_bundle", lambda *_, **__: exported.bundle)
    result = CliRunner().invoke(app, ["--ckpt", "any.pt", "--no-register"])
    assert result.exit_code == 0
    assert f"Next: maskanim-run --model {exported.bundle.path}" in result.stdout
    assert not models.home().exists()


def test_a_repository_for_triton(exported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a model that is exported, and of one that is there."""
    monkeypatch.setattr(build, "export_bundle", lambda *_, **__: exported.bundle)
    for arguments in (["--ckpt", "any.pt", "--no-register"], ["--model", str(exported.bundle.path)]):
        place = tmp_path / f"repository{len(arguments[0])}"
        result = CliRunner().invoke(app, [*arguments, "--triton", str(place), "--triton-least-psnr", "38.5"])
        assert result.exit_code == 0 and f"triton: {place / 'maskanim'}" in result.stdout
        config = (place / "maskanim" / "config.pbtxt").read_text("utf-8")
        assert 'key: "least_psnr", value: { string_value: "38.5" }' in config


def test_int8_changes_a_copy_of_the_demo_and_not_the_package(
    exported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another model is changed where it is, unless --out says otherwise."""
    changed: list[tuple[Path, Path | None]] = []
    monkeypatch.setattr(cli, "_quantize", lambda bundle, *rest: changed.append((bundle.path, rest[-1])))
    for arguments in (["--model", "demo"], [], ["--model", str(models.DEMO / "bundle")]):
        result = CliRunner().invoke(app, ["--int8", *arguments])
        assert result.exit_code == 2 and "the embedded demo, which is part of the package" in result.stderr
    chosen = ["--int8", "--model", str(exported.bundle.path)]
    assert CliRunner().invoke(app, chosen).exit_code == 0
    assert CliRunner().invoke(app, [*chosen, "--out", str(tmp_path / "copy")]).exit_code == 0
    assert changed == [(exported.bundle.path, None), (exported.bundle.path, tmp_path / "copy")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--ckpt", "absent.pt"], "--ckpt absent.pt: no such file"),
        (["--ckpt", "no/run/absent.pt"], "--ckpt no/run/absent.pt: no such file"),
        (["--ckpt", "empty.pt"], "--ckpt empty.pt: an empty file"),
        (["--ckpt", "bad.pt"], "NaN or infinite values in l.first.0.bias, h.head.weight"),
        (["--ckpt", "good.pt", "--weights", "int8"], "--weights: int8; expected float32 or float16"),
        (["--ckpt", "good.pt", "--out", "taken"], "output taken: something that is not a bundle"),
        (["--ckpt", "good.pt", "--out", "absent/bundle"], "does not exist"),
        (["--ckpt", "good.pt", "--threshold", "100"], "--threshold"),
        (["--ckpt", "good.pt", "--released-animate"], "--released-animate"),
        (["--ckpt", "good.pt", "--frames", "absent.png"], "absent.png: there is no such file"),
        ([], "no --ckpt"),
        (["--ckpt", "good.pt", "--model", "demo"], "one of the two"),
        (["--ckpt", "good.pt", "--triton", "taken"], "--triton taken: a file"),
        (["--triton", "repository", "--triton-idle", "0"], "Triton idle time"),
        (["--triton", "repository", "--triton-least-psnr", "0"], "least PSNR: 0"),
        (["--triton", "repository", "--model", "absent"], "absent"),
        (["--triton", "repository", "--engine", "trt"], "--engine: without --ckpt; expected both"),
        (["--triton", "repository", "--weights", "float32"], "--weights: without --ckpt; expected both"),
        (["--triton", "repository", "--out", "new"], "--out: without --ckpt or --int8; expected both"),
        (["--int8", "--model", "demo", "--triton-idle", "1"], "--triton-idle: without --triton; expected both"),
        (["--int8", "--model", "demo", "--out", "new", "--int8-psnr", "0"], "--int8-psnr: 0; expected a number of dB"),
        (["--int8", "--model", "demo", "--out", "taken"], "output taken: something that is not a bundle"),
        (["--ckpt", "good.pt", "--int8-psnr", "30"], "--int8-psnr: without --int8; expected both"),
        (["--ckpt", "good.pt", "--int8", "--int8-psnr", "nan"], "--int8-psnr: nan"),
    ],
)
def test_one_line_errors(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    nets: Networks,
    write_checkpoint: Callable[..., Path],
    frames: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "good.pt", nets)
    damaged = {name: value.clone() for name, value in nets.state_dict().items()}
    damaged["l.first.0.bias"][0], damaged["h.head.weight"][0, 0, 0, 0] = float("-inf"), float("nan")
    write_checkpoint(tmp_path / "bad.pt", nets, networks=damaged)
    (tmp_path / "empty.pt").touch()
    (tmp_path / "taken").touch()
    before = sorted(tmp_path.iterdir())
    fast = "--ckpt" in arguments and "--frames" not in arguments
    result = CliRunner().invoke(app, [*arguments, *(["--frames", str(frames)] if fast else [])])
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if not line.startswith("reading ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and told in lines[0]
    assert sorted(tmp_path.iterdir()) == before and not models.home().exists()


def test_a_home_that_is_a_file(exported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Is said before the work of exporting, and concerns nobody who does not register."""
    (tmp_path / "home").touch()
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    called: list[Any] = []
    monkeypatch.setattr(build, "export_bundle", lambda *_, **__: called.append(1) or exported.bundle)
    result = CliRunner().invoke(app, ["--ckpt", "any.pt"])
    assert result.exit_code == 2 and not called and "MASKANIM_HOME" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert CliRunner().invoke(app, ["--ckpt", "any.pt", "--no-register"]).exit_code == 0 and called
