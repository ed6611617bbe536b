"""What the page says while it works and afterwards, as HTML."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import cv2

from maskanim.app.animation import Animated
from maskanim.errors import MaskanimError
from maskanim.ops import Frame

JPEG_QUALITY = 88


def still(frame: Frame | None) -> str:
    """A picture as HTML, or the place where it will be."""
    if frame is None:
        return '<div class="still empty">The animated picture appears here.</div>'
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    encoded = base64.b64encode(jpeg.tobytes()).decode()
    return f'<img class="still" alt="The animated picture" src="data:image/jpeg;base64,{encoded}">'


def message(*lines: str, wrong: bool = False) -> str:
    """A line, or several, under the buttons."""
    kind = "told wrong" if wrong else "told"
    role = "alert" if wrong else "status"
    return f'<div class="{kind}" role="{role}">{"<br>".join(html.escape(line) for line in lines)}</div>'


def progress(done: int, total: int | None) -> str:
    """How many frames are done, as a line and a bar."""
    total = max(total or 0, done)
    line = f"Frame {done} of {total}" if done else "Waiting for the model"
    return f'<div class="told" role="status">{line}<progress max="{max(1, total)}" value="{done}"></progress></div>'


def without_folders(error: MaskanimError) -> str:
    """The error as its visitor knows the file: by its name."""
    subject = Path(error.subject).name or error.subject
    return str(MaskanimError(subject, error.received, error.expected, error.next_step))


def summary(done: Animated) -> str:
    """What was made, how fast and by what."""
    return f"{done.frames} frames in {done.seconds:.1f} s, {done.frames / done.seconds:.1f} a second, by {done.engine}."
