"""What the page takes, without the page."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from maskanim.app.limits import Limits, check_uploaded
from maskanim.errors import MaskanimError
from maskanim.video import Clip, open_clip, write_picture

SMALL = Limits(bytes=1000, pixels=100 * 100, seconds=2.0)
MakeClip = Callable[..., Path]


def test_a_picture_over_the_pixels_is_refused_by_its_head(tmp_path: Path) -> None:
    write_picture(tmp_path / "large.png", np.zeros((101, 100, 3), np.uint8))
    write_picture(tmp_path / "small.png", np.zeros((100, 100, 3), np.uint8))
    SMALL.check_picture(tmp_path / "small.png")
    with pytest.raises(MaskanimError, match=r"large.png: 100x101 pixels; expected at most 0.01 million pixels"):
        SMALL.check_picture(tmp_path / "large.png")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    """A PNG of 4 thousand million pixels in a hundred bytes: its head is all there is to it."""
    content = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    for kind, part in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        content += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(MaskanimError, match="pixels"):
        Limits().check_picture(tmp_path / "bomb.png")


def test_a_clip_over_the_seconds_or_pixels_is_refused(tmp_path: Path, make_clip: MakeClip) -> None:
    long, large = make_clip(tmp_path / "long.mp4", 21), make_clip(tmp_path / "large.mp4", 2, 128, 96)
    SMALL.check_clip_size(long)
    with (
        open_clip(long) as clip,
        pytest.raises(MaskanimError, match=r"long.mp4: a clip of 2.1 s; expected at most 2 s"),
    ):
        SMALL.check_clip(clip)
    with pytest.raises(MaskanimError, match=r"large\.mp4: 128x96 pixels"):
        SMALL.check_clip_size(large)


def test_a_clip_that_says_nothing_of_its_length_is_left_to_its_frames() -> None:
    clip = Clip(Path("feed.ts"), iter(()), Fraction(1, 10), Fraction(10), None)
    SMALL.check_clip(clip)
    with pytest.raises(MaskanimError, match=r"2\.1 s"):
        SMALL.check_time(clip, 2.1)


def test_limits_are_above_zero() -> None:
    with pytest.raises(MaskanimError, match="limit of seconds: 0; expected more than zero"):
        Limits(seconds=0)


def test_only_files_in_the_upload_folder_are_taken(tmp_path: Path) -> None:
    folder, secret = tmp_path / "uploads", tmp_path / "secret.png"
    (folder / "a").mkdir(parents=True)
    secret.write_bytes(b"secret")
    (folder / "a" / "cat.png").write_bytes(b"cat")
    (folder / "link.png").symlink_to(secret)
    assert check_uploaded(str(folder / "a" / "cat.png"), folder) == folder / "a" / "cat.png"
    outside = [str(secret), str(folder / "a" / ".." / ".." / "secret.png"), str(folder / "link.png"), str(folder)]
    for path in (*outside, str(folder / "gone.png"), "http://example.org/cat.png", "", None, 7, "a\0b", {"path": 1}):
        with pytest.raises(MaskanimError, match="not uploaded to this page"):
            check_uploaded(path, folder)
