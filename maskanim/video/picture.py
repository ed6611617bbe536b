"""Still pictures: reading and writing them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import MIN_FRAME_SIDE, Frame

FilePath = str | os.PathLike[str]
PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read_picture(path: FilePath) -> Frame:
    """Read a picture of any format that OpenCV knows, upright as its EXIF orientation says.

    Args:
        path: the file.

    Returns:
        (H, W, 3) uint8 RGB; grey is repeated into three channels, alpha is dropped. Both sides are at least 64.

    Raises:
        MaskanimError: there is no such file, it is not a picture, or it is smaller than 64x64.
    """
    path = Path(path)
    require_file(path, "a picture")
    image = _decode_picture(path)
    if image is None:
        raise MaskanimError(str(path), "not a picture that can be read", "one such as JPEG or PNG", "Save it anew")
    require_size(path, image.shape[1], image.shape[0])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _decode_picture(path: Path) -> cv2.typing.MatLike | None:
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)  # imread would not find non-ASCII names on Windows
    except OSError as error:
        raise MaskanimError(str(path), f"cannot be read ({error.strerror})", "a readable file") from error
    with _quiet_opencv(), suppress(cv2.error):
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return None


def write_picture(path: FilePath, image: Frame) -> None:
    """Write a picture; the name's ending tells the format.

    Args:
        path: the file, in an existing folder.
        image: (H, W, 3) uint8 RGB.

    Raises:
        MaskanimError: the ending is not that of a picture, or the file cannot be written.
    """
    path = Path(path)
    check_picture_name(path)
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise MaskanimError(str(path), f"cannot be written ({error.strerror})", "a writable file") from error


def check_picture_name(path: FilePath) -> None:
    """Refuse, before any work, a name whose ending is not that of a picture."""
    suffix = Path(path).suffix
    if suffix.lower() not in PICTURE_SUFFIXES:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise MaskanimError(str(path), f"a name ending in '{suffix}'", f"one of {kinds}")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own account of a bad picture off standard error."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def require_file(path: Path, expected: str) -> None:
    """Refuse what is missing, a folder or empty."""
    if not path.exists():
        raise MaskanimError(str(path), "there is no such file", expected, "Check the path")
    if path.is_dir():
        raise MaskanimError(str(path), "a folder", expected, "Name a file")
    if not path.stat().st_size:
        raise MaskanimError(str(path), "an empty file (0 bytes)", expected, "Copy or download it again")


def require_size(path: Path, width: int, height: int) -> None:
    """Refuse frames that are too small for the networks."""
    if min(width, height) < MIN_FRAME_SIDE:
        smallest = f"at least {MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}"
        raise MaskanimError(str(path), f"{width}x{height} pixels", smallest, "Use a larger one")
