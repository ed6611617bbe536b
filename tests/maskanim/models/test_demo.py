"""The embedded demo: what it may weigh, where it comes from, and that it animates."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from maskanim.golden import psnr
from maskanim.models import DEMO, HOME_VARIABLE, choose, demo_bundle
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.cli import app
from maskanim.train.settings import load_settings
from maskanim.video import open_clip, read_picture


def test_it_fits_the_repository() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 25e6


def test_it_says_how_it_was_trained() -> None:
    manifest = demo_bundle().manifest
    trained, settings = manifest.provenance["trained"], load_settings("people", {})
    assert trained["command"].startswith("maskanim-train --config people") and trained["step"] > 0
    assert trained["seed"] == settings.seed and trained["perceptual"] == settings.perceptual
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
def test_it_rebuilds_its_own_driver(engine: str) -> None:
    """Without any data but its own: better than repeating the first frame of the driving clip, for each later one."""
    with open_clip(DEMO / "driving.mp4") as clip:
        first, *others = [frame.image for frame in clip][::20]
    with Animator.open("demo", engine) as animator:
        source = animator.encode_source(first)
        for frame in others:
            made, true, still = (image.astype(float) for image in (animator.animate(source, frame), frame, first))
            moved = np.abs(still - true).max(2) > 16
            assert np.abs(made - true)[moved].mean() <= 0.8 * np.abs(still - true)[moved].mean()
            assert np.abs(made - true)[~moved].mean() <= 0.03 * 255


@pytest.mark.parametrize(
    ("least_psnr", "bound"),
    [
        (55, 45),  # more than any network keeps in INT8: r, l and h in BF16 where the processor has it, else FP32
        (45, 40),  # the default: INT8 where it gains. It is held to 45 dB on the golden frames, and others lose more
    ],
)
def test_rounding_keeps_every_tenth_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least_psnr: int, bound: int
) -> None:
    """As OpenVINO runs the demo, against ONNX Runtime in FP32."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))  # measured here, not by an earlier run
    source = read_picture(DEMO / "source.png")
    with open_clip(DEMO / "driving.mp4") as clip:
        driving = [frame.image for frame in clip][::10]
    rounded = Animator.open("demo", "openvino", RunOptions(least_psnr=least_psnr))
    with rounded, Animator.open("demo", "ort", RunOptions(least_psnr=150)) as single:
        assert least_psnr == 45 or not any("INT8" in line for line in rounded.lines())
        assert not any("INT8" in line for line in single.lines())
        sources = [animator.encode_source(source) for animator in (rounded, single)]
        for image in driving:
            frames = [
                animator.animate_steps(encoded, image).frame
                for animator, encoded in zip((rounded, single), sources, strict=True)
            ]
            assert psnr(*frames) >= bound


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
