"""Still pictures: reading them upright, in eight bits and in sRGB, and writing them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from maskanim.atomic import disk_errors, replacing
from maskanim.errors import MaskanimError, check_local, needs_extra
from maskanim.ops import MIN_FRAME_SIDE, Frame

FilePath = str | os.PathLike[str]
Alpha = NDArray[np.uint8]  # (H, W), 255 where the picture is opaque
Colour = tuple[int, int, int]
PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})  # what a folder is searched for
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints what is wrong with a file
HEIC_BRANDS = frozenset({b"heic", b"heim", b"heis", b"heix", b"mif1", b"msf1"})
STILL_BRANDS = HEIC_BRANDS | {b"avif"}  # FFmpeg would read these too, a big picture's tiles one by one


class Picture(NamedTuple):
    """A picture's pixels."""

    image: Frame  # (H, W, 3) uint8 RGB, with the colours that the file holds below its transparent parts
    alpha: Alpha | None = None  # (H, W) uint8; None where the whole picture is opaque


def read_picture(path: FilePath) -> Frame:
    """Read a picture of any format that Pillow knows; HEIC with the extra ``heic``. Of an animation, its first frame.

    It comes upright as its EXIF orientation says; 16 bits lose the lower eight. Colours with a profile are converted to
    sRGB, others are taken for sRGB; CMYK without a profile is converted by its plain formula.

    Returns:
        (H, W, 3) uint8 RGB; grey is repeated into three channels, alpha is dropped. Both sides are at least 64.

    Raises:
        MaskanimError: there is no such file, it is not a picture, damaged, or smaller than 64x64.
    """
    check_local("", os.fspath(path))
    with opened_picture(Path(path)) as opened:
        return pixels(opened).image


@contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture opened by Pillow; whatever it raises inside of the block becomes one MaskanimError."""
    require_file(path, "a picture")
    if brand(path) in HEIC_BRANDS:
        with needs_extra(str(path), "heic"):
            from pi_heif import register_heif_opener
        register_heif_opener()
    try:
        with _without_warnings():
            image = Image.open(path)
        with image as opened:
            if opened.format == "EPS":  # a program, for which Pillow would start Ghostscript
                raise _refused(path, "a program that draws (EPS)")
            require_size(path, *opened.size)
            yield opened
    except MaskanimError:
        raise
    except UnidentifiedImageError:
        raise _refused(path, "not a picture that can be read") from None
    except Image.DecompressionBombError:
        raise _refused(path, "a picture of too many pixels") from None
    except PermissionError as error:
        raise MaskanimError(str(path), f"cannot be read ({error.strerror})", "a readable file") from error
    except Exception as error:  # a damaged file ends in whichever of a dozen types its first bad byte leads to
        found = " ".join(str(error).split())[:100]
        raise _refused(path, f"not a picture that can be read, or a damaged one ({found})") from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Of large pictures, and of tags that no one asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _refused(path: Path, received: str) -> MaskanimError:
    return MaskanimError(str(path), received, "one such as JPEG or PNG", "Save it anew")


def count_frames(opened: Image.Image) -> int:
    """How many frames an opened picture has; more than one if it is animated."""
    with _without_warnings():
        return getattr(opened, "n_frames", 1)


def pixels(opened: Image.Image, frame: int = 0) -> Picture:
    """A frame of an opened picture."""
    with _without_warnings():
        if count_frames(opened) > 1:
            opened.seek(frame)
        image = opened
        with suppress(Exception):  # a picture is not to be lost for its tags
            image = ImageOps.exif_transpose(opened)
        if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
            image = Image.fromarray(_eight_bits(np.asarray(image)))
        if image.mode != "CMYK":
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return picture_of(np.asarray(_in_srgb(image)))


def picture_of(array: NDArray[np.uint8]) -> Picture:
    """The picture of (H, W, 3) uint8 RGB or (H, W, 4) RGBA; without an alpha that is 255 everywhere."""
    clear = array.shape[2] == 4 and array[..., 3].min() < 255
    alpha = np.ascontiguousarray(array[..., 3]) if clear else None
    return Picture(np.ascontiguousarray(array[..., :3]), alpha)


def _eight_bits(deep: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey of 16 bits, of floats up to one, or of whatever its own maximum is."""
    top = float(deep.max())
    if deep.dtype.kind == "f":
        return np.clip(deep.astype(np.float32) * (255 / max(1.0, top)) + 0.5, 0, 255).astype(np.uint8)
    return np.clip(deep.astype(np.int64) * 256 // max(1 << 16, round(top) + 1), 0, 255).astype(np.uint8)


def _in_srgb(image: Image.Image) -> Image.Image:
    """Converted as its profile says; a profile that cannot be used is passed over."""
    profile = image.info.get("icc_profile")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    with suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
        given = ImageCms.ImageCmsProfile(BytesIO(profile or b""))
        if "sRGB" not in ImageCms.getProfileDescription(given):
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, given, srgb, outputMode=mode) or image
    return image.convert(mode)


def brand(path: Path) -> bytes:
    """The four letters by which files of the mp4 family say what they hold; empty for others."""
    head = file_head(path)
    return head[8:] if head[4:8] == b"ftyp" else b""


def file_head(path: Path) -> bytes:
    """The first twelve bytes of a file; raises a MaskanimError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError as error:
        raise MaskanimError(str(path), f"cannot be read ({error.strerror})", "a readable file") from error


def parse_colour(colour: str | Colour) -> Colour:
    """(R, G, B) from 0 to 255 of a colour in CSS's notation.

    Raises:
        MaskanimError: it is none.
    """
    try:
        values = ImageColor.getrgb(colour)[:3] if isinstance(colour, str) else tuple(colour)
    except ValueError:
        values = ()
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise MaskanimError("background", f"'{colour}'", "a colour such as white, #00ff00 or rgb(0,255,0)")
    return values[0], values[1], values[2]


def alpha_composite(picture: Picture, colour: Colour) -> Picture:
    """The picture composed over a colour, opaque."""
    if picture.alpha is None:
        return picture
    alpha = picture.alpha[..., None].astype(np.float32) / 255
    image = picture.image * alpha + np.array(colour, np.float32) * (1 - alpha)
    return Picture((image + 0.5).astype(np.uint8))


def write_picture(path: FilePath, image: Frame) -> None:
    """Write a picture, whole or not at all; the name's ending tells the format.

    Args:
        path: the file, in an existing folder.
        image: (H, W, 3) uint8 RGB.

    Raises:
        MaskanimError: the ending is not that of a picture, the array is none, or the file cannot be written.
    """
    path = Path(path)
    check_picture_name(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        received = f"{image.dtype} of shape {image.shape}"
        raise MaskanimError(str(path), received, "a picture, uint8 RGB of shape (height, width, 3)")
    # OpenCV writes a PNG in a third of Pillow's time.
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    with disk_errors(path), replacing(path) as partial:
        partial.write_bytes(encoded.tobytes())


def check_picture_name(path: FilePath) -> None:
    """Refuse, before any work, a name whose ending is not that of a picture."""
    suffix = Path(path).suffix
    if suffix.lower() not in PICTURE_SUFFIXES:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise MaskanimError(str(path), f"a name ending in '{suffix}'", f"one of {kinds}")


def require_file(path: Path, expected: str) -> None:
    """Refuse what is missing, a folder or empty."""
    if not path.exists():
        raise MaskanimError(str(path), "there is no such file", expected, "Check the path")
    if path.is_dir():
        raise MaskanimError(str(path), "a folder", expected, "Name a file")
    if not path.is_file():
        raise MaskanimError(str(path), "a pipe or a device", expected, "Name a file; a driver can come through '-'")
    if not path.stat().st_size:
        raise MaskanimError(str(path), "an empty file (0 bytes)", expected, "Copy or download it again")


def require_size(path: Path, width: int, height: int) -> None:
    """Refuse frames that are too small for the networks."""
    if min(width, height) < MIN_FRAME_SIDE:
        smallest = f"at least {MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}"
        raise MaskanimError(str(path), f"{width}x{height} pixels", smallest, "Use a larger one")
