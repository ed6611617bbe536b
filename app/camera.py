"""One frame of a visitor's camera after another to the picture that it makes."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from maskanim.app.limits import AppContext
from maskanim.app.worker import LoadedModel
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import read_picture

CAMERA_PIXELS = 4_000_000


class BusyError(Exception):
    """The model is at work for someone else; a camera's frame is worth nothing later."""


class Seen(NamedTuple):
    """A camera's frame, animated."""

    frame: Frame  # (256, 256, 3) uint8 RGB
    seconds: float  # from the frame's arrival


def animate_camera(context: AppContext, frame: Any, picture: Any, model: Any, engine: Any) -> Seen:
    """Animate the chosen picture by a frame, if the model is free.

    Args:
        frame: as the page sends it; see `camera_frame`.

    Raises:
        MaskanimError: the frame or a choice is wrong, or the model cannot be opened.
        BusyError: the model is not free.
    """
    start = time.perf_counter()
    image, path = camera_frame(frame), context.uploaded(picture, "picture")
    context.limits.check_picture(path)
    if context.worker.waiting:
        context.worker.metrics.dropped.inc()
        raise BusyError

    def work(loaded: LoadedModel) -> Frame:
        return loaded.animator.animate(loaded.source(path, lambda: read_picture(path)), image)

    animated = context.worker.submit(context.model(model), context.engine(engine), work).result()
    seconds = time.perf_counter() - start
    context.worker.metrics.shown(seconds)
    return Seen(animated, seconds)


def camera_frame(value: Any) -> Frame:
    """A frame as the page sends it, a data URL: (H, W, 3) uint8 RGB.

    Raises:
        MaskanimError: it is none, or too large.
    """
    head, _, encoded = str((value or {}).get("url") or "").partition(";base64,")
    # A damaged picture ends in whichever of a dozen types its first bad byte leads to.
    with suppress(Exception), Image.open(BytesIO(base64.b64decode(encoded, validate=True))) as opened:
        if head.startswith("data:image/") and opened.width * opened.height <= CAMERA_PIXELS:
            return np.asarray(opened.convert("RGB"), np.uint8)
    expected = f"a picture of at most {CAMERA_PIXELS / 1e6:g} million pixels"
    raise MaskanimError("camera", "a frame that cannot be read", expected)
