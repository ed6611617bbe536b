"""The embedded demo: what it may weigh, where it comes from, and that it animates."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from maskanim.benchmarks.quality import reconstruct
from maskanim.golden import psnr
from maskanim.models import DEMO, HOME_VARIABLE, choose, demo_bundle
from maskanim.runtime import Animator
from maskanim.runtime.cli import app
from maskanim.train.puppets import Puppet
from maskanim.train.settings import load_settings


def test_it_fits_the_repository() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 25e6


def test_it_says_how_it_was_trained() -> None:
    manifest = demo_bundle().manifest
    trained, settings = manifest.provenance["trained"], load_settings("demo", {})
    assert trained["command"] == "maskanim-train --config demo --data synthetic --out runs/demo"
    assert trained["seed"] == settings.seed and trained["perceptual"] == settings.perceptual
    assert trained["step"] == settings.warmup.steps + settings.epochs * settings.steps_per_epoch
    assert manifest.model == settings.model


def test_it_was_exported_in_parity() -> None:
    parity = demo_bundle().manifest.parity
    assert parity is not None and parity.rounding is not None
    assert max(parity.max_difference.values()) <= 1e-4 and parity.frame_psnr >= 60
    assert parity.rounding.frame_psnr >= 60


def test_it_is_chosen_where_no_model_was_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    assert choose(None).bundle == demo_bundle() and "embedded demo" in choose(None).why


@pytest.mark.parametrize("engine", ["openvino", "ort"])
def test_it_rebuilds_held_out_puppets(engine: str) -> None:
    """A small sample of what `maskanim-bench quality` measures: 0.34 inside and 0.005 outside on all 64."""
    with Animator.open("demo", engine) as animator:
        figures = reconstruct(animator, range(6), 6)
    assert figures["inside_ratio"] <= 0.5 and figures["outside"] <= 0.015


def test_bf16_keeps_the_frame() -> None:
    """OpenVINO runs r, l and h in BF16 where it can, ONNX Runtime in FP32; 45 dB is one and a half grey levels."""
    source, driving = Puppet(0, "test").frame(0).image, Puppet(1, "test").frame(1).image
    with Animator.open("demo", "openvino") as half, Animator.open("demo", "ort") as single:
        frames = [a.animate_steps(a.encode_source(source), driving).frame for a in (half, single)]
    assert psnr(*frames) >= 45


def test_the_command_animates_every_frame_in_its_time(tmp_path: Path) -> None:
    output = tmp_path / "demo.mp4"
    result = CliRunner().invoke(app, ["--demo", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert timestamps(output) == timestamps(DEMO / "driving.mp4")
    with av.open(str(output)) as container:
        video = container.streams.video[0].codec_context
        assert (video.name, video.pix_fmt, video.width, video.height) == ("h264", "yuv420p", 256, 256)


def timestamps(path: Path) -> list[object]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]
