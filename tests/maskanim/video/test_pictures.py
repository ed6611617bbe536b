"""Pictures: of any kind, upright, under any name; and every refusal told in one line."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.odd_files import COLOURS, heic
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import read_picture, write_picture

Draw = Callable[..., Frame]
Change = Callable[[Frame], NDArray[Any]]
AssertNothingLeft = Callable[..., None]


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("colour.png", lambda image: image),
        ("grey.png", lambda image: image[..., 0]),
        ("alpha.png", lambda image: np.dstack([image, image[..., 0]])),
        ("deep.png", lambda image: image.astype(np.uint16) * 257),
        ("colour.bmp", lambda image: image),
        ("colour.webp", lambda image: image),
    ],
)
def test_picture_of_any_kind_becomes_rgb(tmp_path: Path, draw: Draw, name: str, convert: Change) -> None:
    image = convert(draw())
    if image.ndim == 3:
        stored = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    else:
        stored = image
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if name.endswith(".webp") else []
    cv2.imwrite(str(tmp_path / name), stored, lossless)
    expected = draw() if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    got = read_picture(tmp_path / name)
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected)


def test_picture_is_upright(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((64, 128, 3), np.uint8))[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"  # 6: turn clockwise
    exif = b"Exif\0\0" + tiff
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert read_picture(tmp_path / "a.jpg").shape == (128, 64, 3)


def test_picture_with_a_name_that_is_not_ascii(tmp_path: Path, draw: Draw) -> None:
    (tmp_path / "é 人.png").write_bytes(cv2.imencode(".png", draw())[1].tobytes())
    assert read_picture(str(tmp_path / "é 人.png")).shape == (96, 128, 3)


def test_picture_errors(tmp_path: Path, draw: Draw, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture\n" * 20)
    (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", draw())[1].tobytes()[:300])
    cv2.imwrite(str(tmp_path / "small.png"), draw(0, 63, 200))
    for name, received in [
        ("missing.png", "there is no such file"),
        (".", "a folder"),
        ("empty.png", r"an empty file \(0 bytes\)"),
        ("text.png", "not a picture"),
        ("cut.jpg", "not a picture"),
        ("small.png", "200x63 pixels; expected at least 64x64"),
    ]:
        with pytest.raises(MaskanimError, match=received):
            read_picture(tmp_path / name)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "array", [np.ones((64, 64, 3), np.float32), np.ones((64, 64), np.uint8), np.ones((64, 64, 4), np.uint8)]
)
def test_an_array_that_is_no_picture_is_not_written(tmp_path: Path, array: Any) -> None:
    """Floats in [0, 1] would be black, and alpha would be lost."""
    with pytest.raises(MaskanimError, match="expected a picture, uint8 RGB of shape"):
        write_picture(tmp_path / "a.png", array)
    assert not list(tmp_path.iterdir())


def test_a_picture_comes_back_as_it_was_written(tmp_path: Path, draw: Draw) -> None:
    write_picture(tmp_path / "bild-ä.png", draw())
    np.testing.assert_array_equal(read_picture(tmp_path / "bild-ä.png"), draw())


@pytest.mark.parametrize(("name", "told"), [("a.txt", "ending in '.txt'"), ("nowhere/a.png", "writing it failed")])
def test_where_no_picture_can_be_written(
    tmp_path: Path, draw: Draw, assert_nothing_left: AssertNothingLeft, name: str, told: str
) -> None:
    with pytest.raises(MaskanimError, match=told):
        write_picture(tmp_path / name, draw())
    assert_nothing_left(tmp_path)


def test_picture_of_a_phone(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif", reason="reading HEIC needs the extra heic")
    np.testing.assert_allclose(read_picture(heic(tmp_path))[::95, ::127].reshape(4, 3), COLOURS, atol=20)


def test_picture_of_a_phone_without_what_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(MaskanimError, match=r"a\.heic: the package pi_heif is not installed; expected the extra heic"):
        read_picture(heic(tmp_path))
