"""The picture that is to be animated: from a picture, a frame of an animation, or a frame of a video."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import ImageColor

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.container import holds_picture, open_container, unreadable
from maskanim.video.film import Film, upright
from maskanim.video.picture import (
    STILL_BRANDS,
    FilePath,
    Picture,
    brand,
    count_frames,
    opaque_or,
    opened_picture,
    pixels,
    require_file,
)

SOURCE_KINDS = "a picture or a video"
Colour = tuple[int, int, int]


def read_source(path: FilePath, frame: int = 0, background: str | Colour | None = None) -> Picture:
    """Read the picture that is to be animated.

    Args:
        path: a picture, as for `read_picture`; or an animated one, or a video that FFmpeg decodes.
        frame: which frame of an animation or a video, counted from 0.
        background: a colour to put below transparent parts, as in CSS (``white``, ``#00ff00``) or as (R, G, B) from 0
            to 255; None leaves the alpha to the caller.

    Returns:
        The picture, upright, with both sides at least 64; its alpha is None where a background was given. The alpha
        of a VP9 video is not read: FFmpeg's decoder leaves it out.

    Raises:
        MaskanimError: there is no such file, it is neither, it is damaged or too small, it has not so many frames, or
            there is no such colour.
    """
    path, colour = Path(path), None if background is None else parse_colour(background)
    require_file(path, SOURCE_KINDS)
    try:
        picture = _frame_of_picture(path, frame)
    except MaskanimError:
        if not _is_video(path):
            raise
        picture = _frame_of_video(path, frame)
    return picture if colour is None else over(picture, colour)


def parse_colour(colour: str | Colour, subject: str = "background") -> Colour:
    """(R, G, B) from 0 to 255 of a colour in CSS's notation.

    Raises:
        MaskanimError: it is none.
    """
    try:
        values = ImageColor.getrgb(colour)[:3] if isinstance(colour, str) else tuple(colour)
    except ValueError:
        values = ()
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise MaskanimError(subject, f"'{colour}'", "a colour such as white, #00ff00 or rgb(0,255,0)")
    return values[0], values[1], values[2]


def over(picture: Picture, colour: Colour) -> Picture:
    """The picture composed over a colour, opaque."""
    if picture.alpha is None:
        return picture
    alpha = picture.alpha[..., None].astype(np.float32) / 255
    image = picture.image * alpha + np.array(colour, np.float32) * (1 - alpha)
    return Picture((image + 0.5).astype(np.uint8))


def _is_video(path: Path) -> bool:
    if brand(path) in STILL_BRANDS:
        return False
    try:
        container = open_container(path)
    except MaskanimError:
        return False
    picture = holds_picture(container)
    container.close()
    return not picture


def _frame_of_picture(path: Path, frame: int) -> Picture:
    with opened_picture(path) as opened:
        count = count_frames(opened)
        if not 0 <= frame < count:
            raise _no_such_frame(path, frame, count)
        return pixels(opened, frame)


def _frame_of_video(path: Path, frame: int) -> Picture:
    film = Film(path, partial(open_container, path), draw=_with_alpha)
    try:
        shown = next(islice(film.shown(), frame, None), None) if frame >= 0 else None
        if shown is None:
            raise _no_such_frame(path, frame, sum(1 for _ in film.shown()))
        image = shown.drawn()
    except av.FFmpegError as error:
        raise unreadable(path, f"reading it failed ({error.strerror})") from error
    finally:
        film.close()
    return Picture(np.ascontiguousarray(image[..., :3]), opaque_or(image[..., 3]) if image.shape[2] == 4 else None)


def _with_alpha(frame: av.VideoFrame) -> Frame:
    """As `upright`, (H, W, 4) RGBA where the video has alpha."""
    has_alpha = any(component.is_alpha for component in frame.format.components)
    return upright(frame, "rgba" if has_alpha else "rgb24")


def _no_such_frame(path: Path, frame: int, count: int) -> MaskanimError:
    return MaskanimError(str(path), f"no frame {frame}", f"one of its {count} frames, counted from 0")
